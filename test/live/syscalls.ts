// System calls with addresses of pages that are not there: the kernel takes the fault. Where faults of the kernel are not
// served (user mode) the call fails with EFAULT and works after a touch. What runs in user mode alone always works.

import { mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FIRST_PAGE } from './engine.ts'
import { startEngine } from './start-engine.ts'

const NPAGES = 16
const TEXT = 'a page brought by the kernel'

const engine = await startEngine(NPAGES)
const pageAt = (page: number) => new Uint8Array(engine.buffer, (FIRST_PAGE + page) * 4096, 4096)
const folder = mkdtempSync(join(tmpdir(), 'hetmem-live-'))
try {
  const path = join(folder, 'file')
  writeFileSync(path, TEXT)
  const fd = openSync(path, 'r+')
  const attempt = (call: () => number): number | string => {
    try {
      return call()
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }
  const read = attempt(() => readSync(fd, pageAt(0), 0, TEXT.length, 0))
  const write = attempt(() => writeSync(fd, pageAt(1), 0, 10, 100))
  for (const page of [0, 1]) pageAt(page)[0] = 0x61
  const readAgain = attempt(() => readSync(fd, pageAt(0), 0, TEXT.length, 0))
  const writeAgain = attempt(() => writeSync(fd, pageAt(1), 0, 10, 100))
  const text = String.fromCharCode(...pageAt(0).subarray(0, TEXT.length))
  await engine.order({ kind: 'zap', first: 0, npages: NPAGES })
  const copy = Buffer.alloc(TEXT.length)
  copy.set(pageAt(0).subarray(0, TEXT.length))
  const same = Buffer.from(engine.buffer, (FIRST_PAGE + 2) * 4096, 64).equals(Buffer.alloc(64))
  const found = Buffer.from(engine.buffer, FIRST_PAGE * 4096, 4096).indexOf('kernel')
  const { counts } = await engine.order({ kind: 'check' })
  const { mode } = engine.started
  await engine.order({ kind: 'close' })
  console.log(
    JSON.stringify({ mode, read, write, readAgain, writeAgain, text, copy: copy.toString(), same, found, counts }),
  )
} finally {
  rmSync(folder, { recursive: true })
}
