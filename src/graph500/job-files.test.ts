import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ReportBuilder } from '../report/index.ts'
import { checkFolder, REPORT_NAME, TRACE_NAME, withTrace, writeReport } from './job-files.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hetmem-files-'))
})
afterEach(() => rm(folder, { recursive: true }))

const builder = () => new ReportBuilder({ timeUnit: 'us', program: 'test', mode: 'explicit' })

describe('checkFolder()', () => {
  test('accepts a folder that can be written', async () => {
    await expect(checkFolder(folder)).resolves.toBe(undefined)
  })

  test('says why files cannot be written', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    await expect(checkFolder(file)).rejects.toThrow(`files cannot be written to ${file}: it is no folder`)
    const missing = join(folder, 'missing')
    await expect(checkFolder(missing)).rejects.toThrow(`files cannot be written to ${missing}: there is no such folder`)
  })

  // Root may write everywhere but here.
  test.skipIf(process.platform !== 'linux')('refuses a folder that may not be written', async () => {
    await expect(checkFolder('/proc')).rejects.toThrow(
      /cannot be written to \/proc: it (may not be written|takes no files|is read-only)/,
    )
  })
})

describe('writeReport()', () => {
  test('writes a page', async () => {
    expect(await writeReport(folder, builder())).toBe(join(folder, REPORT_NAME))
    expect(await readFile(join(folder, REPORT_NAME), 'utf8')).toMatch(/^<!doctype html>/i)
  })

  test('leaves nothing behind that is not whole', async () => {
    await mkdir(join(folder, REPORT_NAME, 'in the way'), { recursive: true })
    await expect(writeReport(folder, builder())).rejects.toThrow('cannot be written')
    expect(await readdir(folder)).toEqual([REPORT_NAME])
  })
})

describe('withTrace()', () => {
  test('gives a trace its name when it is whole', async () => {
    const result = await withTrace(folder, async (path) => {
      await writeFile(path, '[]')
      expect(await readdir(folder)).not.toContain(TRACE_NAME)
      return 42
    })
    expect([result, await readdir(folder)]).toEqual([42, [TRACE_NAME]])
  })

  test('leaves nothing behind when the job fails, and what was there before as it was', async () => {
    await writeFile(join(folder, TRACE_NAME), 'of an earlier run')
    const failing = withTrace(folder, async (path) => {
      await writeFile(path, '[')
      throw new Error('it failed')
    })
    await expect(failing).rejects.toThrow('it failed')
    expect(await readdir(folder)).toEqual([TRACE_NAME])
    expect(await readFile(join(folder, TRACE_NAME), 'utf8')).toBe('of an earlier run')
  })
})
