import { describe, expect, test } from 'vitest'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfn,
  migratePfnAt,
  migratePfnToPfn,
  migratePfnWords,
  setMigratePfn,
} from './migrate-pfn.ts'

const FLAGS = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE

describe('MG-6: an entry as an integer and as two words', () => {
  // Below and above 2^26, where the frame number begins to reach into the high word, and where a shift makes it negative.
  test.each([0, 1, 0x1ff_ffff, 0x200_0000, 0x3ff_ffff, 0x400_0000, 0x7fff_ffff, 0xffff_ffff])('of frame %i', (pfn) => {
    const entries = new BigUint64Array(3)
    const words = migratePfnWords(entries)
    setMigratePfn(words, 1, pfn, FLAGS)
    expect([...entries]).toEqual([0n, (BigInt(pfn) << 6n) | BigInt(FLAGS), 0n])
    expect(entries[1]).toBe(migratePfn(pfn, FLAGS))
    expect(migratePfnAt(words, 1)).toBe(pfn)
    expect(migratePfnToPfn(entries[1])).toBe(pfn)
  })

  test('names no frame without VALID', () => {
    const entries = BigUint64Array.of(0n, BigInt(MIGRATE_PFN_MIGRATE), (77n << 6n) | BigInt(MIGRATE_PFN_MIGRATE))
    const words = migratePfnWords(entries)
    expect([0, 1, 2].map((i) => migratePfnAt(words, i))).toEqual([-1, -1, -1])
    expect([...entries].map(migratePfnToPfn)).toEqual([-1, -1, -1])
  })

  test('shows the words of a part of a larger array', () => {
    const entries = BigUint64Array.of(migratePfn(1), migratePfn(2), migratePfn(3))
    const words = migratePfnWords(entries.subarray(1, 2))
    expect(words.length).toBe(2)
    expect(migratePfnAt(words, 0)).toBe(2)
  })
})
