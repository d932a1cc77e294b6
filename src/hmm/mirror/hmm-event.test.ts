import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TASK_SIZE } from '../../base/addr.ts'
import { EINVAL } from '../../base/errno.ts'
import * as e from './hmm-event.ts'
import { HMM_PTE_WRITE } from './hmm-pte.ts'

const ALL = 0xffff_ffff_ffff_ffffn
const NO_WRITE = ALL & ~BigInt(HMM_PTE_WRITE)

describe('types (MR-11)', () => {
  it('are numbered in the order of the third version, the two copies after them', () => {
    expect([
      e.HMM_NONE,
      e.HMM_FORK,
      e.HMM_ISDIRTY,
      e.HMM_MIGRATE,
      e.HMM_MUNMAP,
      e.HMM_DEVICE_RFAULT,
      e.HMM_DEVICE_WFAULT,
      e.HMM_WRITE_PROTECT,
      e.HMM_COPY_FROM_DEVICE,
      e.HMM_COPY_TO_DEVICE,
    ]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(e.HMM_ETYPES.length).toBe(10)
  })
})

describe('hmmEventInit() (MR-10, MR-12)', () => {
  it('rounds the start down and the end up: 0x1800 to 0x2801 is 0x1000 to 0x3000 (MR-70)', () => {
    const event = new e.HmmEvent()
    expect(e.hmmEventInit(event, TASK_SIZE, 0x1800, 0x2801, e.HMM_MIGRATE)).toBe(0)
    expect([event.start, event.end]).toEqual([0x1000, 0x3000])
  })

  it('review: end is rounded up to a page, after it was cut at the end of the address space', () => {
    const event = new e.HmmEvent()
    expect(e.hmmEventInit(event, 0x5000, 0x4001, 2 ** 64, e.HMM_MUNMAP)).toBe(0)
    expect([event.start, event.end]).toEqual([0x4000, 0x5000])
    expect(e.hmmEventInit(event, 0x4801, 0x4000, 0x9000, e.HMM_MUNMAP)).toBe(0)
    expect([event.start, event.end]).toEqual([0x4000, 0x5000])
  })

  it('covers every page that the bytes touch, and no other', () => {
    const event = new e.HmmEvent()
    fc.assert(
      fc.property(fc.nat({ max: TASK_SIZE - 2 }), fc.integer({ min: 1, max: 2 ** 33 }), (start, length) => {
        const end = Math.min(start + length, TASK_SIZE)
        expect(e.hmmEventInit(event, TASK_SIZE, start, start + length, e.HMM_MIGRATE)).toBe(0)
        expect(BigInt(event.start)).toBe(BigInt(start) & ~0xfffn)
        expect(BigInt(event.end)).toBe((BigInt(end) + 0xfffn) & ~0xfffn)
      }),
    )
  })

  it.each([
    ['an empty range', 0x1000, 0x1000, e.HMM_MIGRATE],
    ['an empty range inside a page', 0x1800, 0x1800, e.HMM_MIGRATE],
    ['a range that ends before it starts', 0x3000, 0x1000, e.HMM_MIGRATE],
    ['a start at the end of the address space', TASK_SIZE, TASK_SIZE + 4096, e.HMM_MIGRATE],
    ['a negative start', -4096, 4096, e.HMM_MIGRATE],
    ['a start that is no number', Number.NaN, 4096, e.HMM_MIGRATE],
    ['an end that is no number', 0, Number.NaN, e.HMM_MIGRATE],
    ['type NONE', 0, 4096, e.HMM_NONE],
    ['an unknown type', 0, 4096, 10],
    ['a type between two', 0, 4096, 1.5],
  ])('returns -EINVAL for %s and leaves the event alone', (_name, start, end, etype) => {
    const event = new e.HmmEvent(0x7000, 0x9000, e.HMM_FORK)
    expect(e.hmmEventInit(event, TASK_SIZE, start, end, etype)).toBe(-EINVAL)
    expect([event.start, event.end, event.etype]).toEqual([0x7000, 0x9000, e.HMM_FORK])
  })

  it('clears backoff, so that an event can be used again', () => {
    const event = new e.HmmEvent()
    event.backoff = true
    e.hmmEventInit(event, TASK_SIZE, 0, 4096, e.HMM_DEVICE_RFAULT)
    expect(event.backoff).toBe(false)
  })
})

describe('pteMask (MR-13)', () => {
  it.each([
    ['FORK', e.HMM_FORK, NO_WRITE],
    ['ISDIRTY', e.HMM_ISDIRTY, ALL],
    ['MIGRATE', e.HMM_MIGRATE, 0n],
    ['MUNMAP', e.HMM_MUNMAP, 0n],
    ['DEVICE_RFAULT', e.HMM_DEVICE_RFAULT, ALL],
    ['DEVICE_WFAULT', e.HMM_DEVICE_WFAULT, ALL],
    ['WRITE_PROTECT', e.HMM_WRITE_PROTECT, NO_WRITE],
    ['COPY_FROM_DEVICE', e.HMM_COPY_FROM_DEVICE, ALL],
    ['COPY_TO_DEVICE', e.HMM_COPY_TO_DEVICE, ALL],
  ])('of %s is as the type says, in 64 bits and in words', (_name, etype, mask) => {
    const event = new e.HmmEvent()
    e.hmmEventInit(event, TASK_SIZE, 0, 4096, etype)
    expect(event.pteMask).toBe(mask)
    expect((BigInt(event.maskHigh >>> 0) << 32n) | BigInt(event.maskLow >>> 0)).toBe(mask)
  })

  it('follows from the type, not the reverse: MIGRATE and MUNMAP have the same (MR-29)', () => {
    expect(e.hmmEtypeMask(e.HMM_MIGRATE)).toBe(e.hmmEtypeMask(e.HMM_MUNMAP))
  })
})

describe('formatHmmEvent()', () => {
  it('prints type and range', () => {
    expect(e.formatHmmEvent(new e.HmmEvent(0x1000, 0x3000, e.HMM_WRITE_PROTECT))).toBe('WRITE_PROTECT 0x1000-0x3000')
  })
})
