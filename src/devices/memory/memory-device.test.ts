import { afterEach, describe, expect, it } from 'vitest'
import {
  BACKENDS,
  type Backend,
  MemoryMachine,
  type MemoryMachineOptions,
} from '../../../test/helpers/memory-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'

let machine: MemoryMachine

function start(backend: Backend, options: MemoryMachineOptions = {}): MemoryMachine {
  machine = new MemoryMachine(backend, options)
  return machine
}

afterEach(async () => {
  await machine?.close()
})

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })

describe.each(BACKENDS)('memory device on the %s backend', (backend) => {
  it('works on copies of what it reads and on the pages that it writes', async () => {
    const { handle, device } = start(backend)
    const x = await machine.alloc(1, 4, (i) => i + 1)
    const y = await machine.alloc(8, 4, (i) => 10 * i)
    machine.check()
    const receipt = await handle.run({ read: [pages(x, 4)], write: [pages(y, 4)] }, (memory) => {
      for (let i = 0; i < 4; i++) {
        const at = i * PAGE_SIZE
        memory.store32(y + at, memory.load32(y + at) + memory.load32(x + at))
      }
    })
    machine.check()
    expect(receipt).toMatchObject({ mode: 'direct', pages: { resident: 0, duplicated: 4, pinned: 4, migrated: 0 } })
    expect([machine.pages(x, 4), machine.pages(y, 4), device.npagesUsed]).toEqual(['rrrr', 'DDDD', 4])
    expect(await machine.loadAll(y, 4)).toEqual([1, 12, 23, 34])
    machine.check()
  })
})
