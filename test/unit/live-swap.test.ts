// Heaps with more data than memory, and arrays that show files, in processes of their own. The cases are told in test/live/swap.ts
// and test/live/files.ts. They run as root with all faults (live) and as another user with those of user mode (live-user).

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { MemoryStats } from '../../src/heap/engine/protocol.ts'
import { type ProgramResult, resultOf, runProgram } from '../helpers/child-program.ts'
import { findLiveMachine } from '../helpers/live-fixture.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const MIB = 2 ** 20
/** What is freed may stay until 2 MiB have come together. */
const TRIM = 2 * MIB

interface Mode {
  readonly name: 'live' | 'live-user'
  readonly uid?: number
  /** The capability that is missing, if the mode cannot be tried here. */
  readonly missing?: string
}

const full = await findLiveMachine({ sources: ['syscall', 'device'] })
const user = await findLiveMachine({ sources: ['user-mode'] })
const MODES: Mode[] = [
  { name: 'live', ...(typeof full === 'string' ? { missing: full } : {}) },
  { name: 'live-user', ...(isRoot ? { uid: NOBODY } : {}), ...(typeof user === 'string' ? { missing: user } : {}) },
]

const firstMode = MODES.find(({ missing }) => missing === undefined)

/** Runs a case of test/live/FILE.ts. */
function run({ name, uid }: Mode, file: string, args: readonly string[]): Promise<ProgramResult> {
  return runProgram(`test/live/${file}.ts`, {
    args: ['--mode', name, ...args],
    timeoutMs: 110_000,
    ...(uid === undefined ? {} : { uid }),
  })
}

describe.each(MODES)('$name', { timeout: 120_000 }, (mode) => {
  async function outcome<T>(test: { skip(note: string): void }, file: string, ...args: string[]): Promise<T> {
    if (mode.missing !== undefined) test.skip(mode.missing)
    return resultOf<T>(await run(mode, file, ['--case', ...args]))
  }

  /** Where nothing depends on the mode it is enough to see it once. */
  function once(test: { skip(note: string): void }): void {
    if (mode.name !== firstMode?.name) test.skip(`the same as in ${firstMode?.name ?? 'live'}`)
  }

  describe('swap', () => {
    test('holds what memory does not, and brings it back; what is clean is written once', async (test) => {
      const result = await outcome<{
        wrong: number
        reserved: number
        peak: number
        left: { backed: number; reserved: number }
        first: MemoryStats
        second: MemoryStats
        open: number
      }>(test, 'swap', 'larger', '--mib', '160')
      expect(result.wrong).toBe(0)
      expect(result.peak).toBeLessThanOrEqual(40 * MIB + TRIM)
      expect(result.reserved).toBeGreaterThanOrEqual(160 * MIB)
      expect(result.left.backed).toBeLessThan(TRIM)
      expect(result.left.reserved).toBe(0)
      expect(result.open).toBe(0)
      const [first, second] = [result.first.swap, result.second.swap]
      // The second look has read everything again, and written what the first had left in memory.
      expect((second?.pagesIn ?? 0) - (first?.pagesIn ?? 0)).toBeGreaterThan((120 * MIB) / 4096)
      expect((second?.pagesOut ?? 0) - (first?.pagesOut ?? 0)).toBeLessThanOrEqual((40 * MIB) / 4096)
      expect((first?.readAheadHits ?? 0) / (first?.pagesIn ?? 1)).toBeGreaterThan(0.9)
      expect([second?.writeErrors, second?.readErrors, result.second.pagesOverLimit]).toEqual([0, 0, 0])
    })

    test('serves four threads that read and write at random', async (test) => {
      const { results, memory, backed } = await outcome<{
        results: { wrong: number; noperations: number }[]
        memory: MemoryStats
        backed: number
      }>(test, 'swap', 'threads', '--mib', '128', '--seconds', '2')
      expect(results.map(({ wrong }) => wrong)).toEqual([0, 0, 0, 0])
      expect(Math.min(...results.map(({ noperations }) => noperations))).toBeGreaterThan(0)
      expect(backed).toBeLessThanOrEqual(16 * MIB + TRIM)
      expect(memory.swap?.pagesOut).toBeGreaterThan(0)
    })

    test('has a place for every page from the beginning: what does not fit is refused by alloc', async (test) => {
      once(test)
      const { codes, memory } = await outcome<{ codes: string[]; memory: MemoryStats }>(test, 'swap', 'full')
      expect(codes).toEqual([
        'OUT_OF_SPACE: Uint8Array "y" of 13631488 elements: 13 MiB, 12 MiB left of 16 MiB of memory and 16 MiB of swap; free arrays, or open the heap with more',
        'ok',
        'OUT_OF_SPACE: Uint8Array "one more" of 1 elements: 4 KiB, 0 B left of 16 MiB of memory, and there is no swap; free arrays, or open the heap with more memory or with swap',
      ])
      expect([memory.resident, memory.limit, memory.pagesOverLimit]).toEqual([16 * MIB, 16 * MIB, 0])
    })

    test('is refused by alloc when its disk is full', async (test) => {
      once(test)
      if (!isRoot) test.skip('root: only root can make a small file system')
      const directory = mkdtempSync(join(tmpdir(), 'hetmem-disk-'))
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m,mode=1777', 'tmpfs', directory])
      try {
        const result = await outcome<{ message: string; wrong: number }>(test, 'swap', 'disk', '--directory', directory)
        expect(result.message).toMatch(
          /^OUT_OF_SPACE: Int32Array "y" of .* no room for it in the swap file in .*ENOSPC/,
        )
        expect(result.wrong).toBe(0)
      } finally {
        execFileSync('umount', [directory])
        rmdirSync(directory)
      }
    })

    test('leaves pages where they are while writing fails, and goes on when it works again', async (test) => {
      once(test)
      const { wrong, wrongLater, failing, later } = await outcome<{
        wrong: number
        wrongLater: number
        failing: MemoryStats
        later: MemoryStats
      }>(test, 'swap', 'failingWrites')
      expect([wrong, wrongLater]).toEqual([0, 0])
      expect([failing.resident, failing.swap?.pagesOut]).toEqual([128 * MIB, 0])
      expect(failing.swap?.writeErrors).toBeGreaterThan(0)
      expect(failing.pagesOverLimit).toBeGreaterThan(0)
      expect(later.resident).toBeLessThanOrEqual(64 * MIB)
    })

    test('says which elements are lost when the file was damaged', async (test) => {
      once(test)
      if (mode.missing !== undefined) test.skip(mode.missing)
      const { signal, stdout, stderr } = await run(mode, 'swap', ['--case', 'damage'])
      const lost =
        'LOST: "x"[0] and the rest of its page are lost: what the swap file has of it is not what was written'
      expect(JSON.parse(stdout)).toEqual({ refusals: [lost, lost], place: ['swap'], discarded: 0 })
      expect(signal).toBe('SIGABRT')
      expect(stderr).toMatch(/the CPU loads "x"\[3072\] .*: the page is lost: what the swap file has of it/)
    })

    test('may be written with pages whose arrays are freed, and read by who kept their views', async (test) => {
      const { wrong, memory } = await outcome<{ wrong: number; memory: MemoryStats }>(test, 'swap', 'freedOnTheWay')
      expect([wrong, memory.swap?.readErrors]).toEqual([0, 0])
      expect(memory.swap?.pagesOut).toBeGreaterThan(1000)
    })

    test('fills what is lost, where that is wanted: a touch finds NaN, and calls are refused until it is given up', async (test) => {
      once(test)
      const refusal =
        'LOST: the newest contents of "x" could not be read back from the swap file; discard them to go on'
      expect(await outcome(test, 'swap', 'damageFilled')).toEqual({
        places: ['swap'],
        refusals: Array(4).fill(refusal),
        values: ['NaN', '0'],
      })
    })

    test('ends the process with a message when its thread fails', async (test) => {
      once(test)
      if (mode.missing !== undefined) test.skip(mode.missing)
      const { signal, stderr } = await run(mode, 'swap', ['--case', 'broken'])
      expect(signal).toBe('SIGABRT')
      expect(stderr).toMatch(
        /a live heap cannot go on, as the thread of its page I\/O ended with code 1: .*page \d+ is one of the heap/,
      )
    })

    test('leaves what is held in memory, and not all of memory can be held', async (test) => {
      const { wrong, places, message } = await outcome<{ wrong: number; places: object; message: string }>(
        test,
        'swap',
        'held',
      )
      expect([wrong, places]).toEqual([0, { cpu: 2048 }])
      expect(message).toMatch(/^OUT_OF_SPACE: withResident or pin of 96 MiB of "x", and 11 MiB of memory can be held/)
    })

    test('goes on while devices take pages from full memory', async (test) => {
      once(test)
      const { wrong, peak, memory } = await outcome<{ wrong: number; peak: number; memory: MemoryStats }>(
        test,
        'swap',
        'devices',
      )
      expect([wrong, memory.swap?.readErrors]).toEqual([0, 0])
      expect(peak).toBeLessThanOrEqual(16 * MIB + TRIM)
    })
  })

  describe('files', () => {
    test('are shown as arrays larger than memory, which take no room from others', async (test) => {
      const { memory, ...rest } = await outcome<{ memory: MemoryStats; length: number }>(test, 'files', 'map')
      expect(rest).toEqual({ wrong: 0, wrongPart: 0, wrongAgain: 0, own7: true, length: 40 * MIB + 3 })
      expect(memory.resident).toBeLessThanOrEqual(32 * MIB)
      expect([memory.swap?.pagesOut, memory.pagesOverLimit]).toEqual([0, 0])
      expect(memory.swap?.pagesDropped).toBeGreaterThan((128 * MIB) / 4096)
    })

    test('are refused by name where array and file do not fit', async (test) => {
      once(test)
      expect(await outcome(test, 'files', 'refusals')).toEqual([
        'RangeError BAD_VALUE: file "DIR/numbers" has 1048578 bytes from offset 0, wanted a multiple of 4; give a length',
        'RangeError BAD_VALUE: offset is 2, wanted a multiple of 4 bytes for a Int32Array',
        'RangeError BAD_VALUE: file "DIR/numbers" has 1048578 bytes from offset 0, wanted 4 MiB for 1048576 elements',
        expect.stringMatching(/^HeapError BAD_FILE: .* file "DIR\/nothing": ENOENT/),
        'HeapError BAD_FILE: BAD_FILE: file "DIR": it is no regular file',
        'HeapError READ_ONLY: READ_ONLY: "x" shows a file',
      ])
    })

    test('must not change: what was not read is lost then, and what was is not', async (test) => {
      once(test)
      if (mode.missing !== undefined) test.skip(mode.missing)
      const { signal, stdout, stderr } = await run(mode, 'files', ['--case', 'changed'])
      const { before, here, message } = JSON.parse(stdout)
      expect([before, here]).toEqual([15, 15])
      expect(message).toMatch(/^HeapError LOST: .*"x"\[\d+\] and the rest of its page are lost: its file was changed/)
      expect([signal, stderr.includes('the CPU loads "x"[524288]')]).toEqual(['SIGABRT', true])
    })

    test('can be read by devices', async (test) => {
      once(test)
      const { pages, write, wrong } = await outcome<{ pages: number; write: string; wrong: number }>(
        test,
        'files',
        'devices',
      )
      expect([pages, wrong]).toEqual([1024, 0])
      expect(write).toMatch(/READ_ONLY/)
    })

    test('fill arrays, and so do streams', async (test) => {
      expect(await outcome(test, 'files', 'load')).toEqual({
        wrong: 0,
        bytes: 48 * MIB,
        text: 'load: 48 MiB to "x" in N ms',
        short: 'HeapError BAD_FILE: BAD_FILE: source ends after 5 bytes, wanted 4194304',
      })
    })
  })
})
