import { describe, expect, it } from 'vitest'
import { BASE, F, FW, HmmFixture, RW, tokens, W } from '../../test/helpers/hmm-fixture.ts'
import { PAGE_SIZE, PMD_SIZE, PUD_SIZE } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { EAGAIN, EBUSY, EFAULT, EINVAL, EPERM } from '../base/errno.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mm/mmu-notifier.ts'
import {
  PTE_HUGE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
} from '../mm/pte.ts'
import { VM_FAULT_RETRY } from '../mm/vm-fault.ts'
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from '../mm/vm-flags.ts'
import { PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { hmmRangeFault } from './hmm.ts'
import { hmmDeviceEntryFromPfn, hmmDeviceEntryToPage } from './hmm-range.ts'

const VALID = 1n << 63n
const WRITE = 1n << 62n
const ERROR = 1n << 61n
const ORDER9 = 9n << 56n

/** Pages 0 to n-1 of a fixture, all alike: the state under test. */
function repeat<T>(n: number, value: T): T[] {
  return new Array<T>(n).fill(value)
}

function invalidate(fixture: HmmFixture, page: number, npages: number): void {
  const range = new MmuNotifierRange(
    MMU_NOTIFY_CLEAR,
    null,
    fixture.mm,
    fixture.addr(page),
    fixture.addr(page + npages),
  )
  mmuNotifierInvalidateRangeStart(range)
  mmuNotifierInvalidateRangeEnd(range)
}

describe('hmmRangeFault(), the need-fault decision', () => {
  // What the entry is before, and what it has to be afterwards by request (RF-38).
  const cases: [state: string, request: bigint, after: string][] = [
    ['not valid', 0n, '0'],
    ['not valid', W, '0'],
    ['not valid', F, 'V:z'],
    ['not valid', FW, 'VW:0'],
    ['read-only', 0n, 'V:z'],
    ['read-only', W, 'V:z'],
    ['read-only', F, 'V:z'],
    ['read-only', FW, 'VW:0'],
    ['writable', 0n, 'VW:0'],
    ['writable', W, 'VW:0'],
    ['writable', F, 'VW:0'],
    ['writable', FW, 'VW:0'],
  ]

  for (const [state, request, after] of cases) {
    const name = request === FW ? 'FW' : request === F ? 'F' : request === W ? 'W' : 'nothing'
    for (const place of ['default_flags', 'the entry'] as const) {
      it(`makes a page that is ${state} ${after} when ${name} is requested by ${place} (RF-34, RF-35, RF-38)`, () => {
        const fixture = new HmmFixture()
        fixture.map(0, 2)
        fixture.touch(1, 1, 'read') // the table exists, so page 0 is examined for itself
        if (state !== 'not valid') fixture.touch(0, 1, state === 'writable' ? 'write' : 'read')
        const ask = place === 'the entry' ? { mask: FW, requests: [request] } : { default: request }
        let answer = fixture.fault61(0, 1, ask)
        if (answer.result === -EBUSY) answer = fixture.fault61(0, 1, ask) // the zero page was replaced (RF-79b)
        expect(answer.result).toBe(0)
        expect(tokens(fixture, answer)).toBe(after)
      })
    }
  }

  it('honours only the bits of an entry that are in the mask (RF-34)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(3, 1, 'read')
    const answer = fixture.fault61(0, 3, { mask: W, requests: [FW, FW, FW] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, '0 0 0'])
  })

  it('is the union of the pages where an extent is one unit (RF-37)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    const answer = fixture.fault61(0, 4, { mask: FW, requests: [0n, F, FW, F] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1 VW:2 VW:3'])
  })

  it('does not read entries in a snapshot (RF-36)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    const answer = fixture.fault61(0, 2, { default: W, mask: W, requests: [FW, FW] })
    expect([answer.result, answer.entries]).toEqual([0, [0n, 0n]])
    expect(fixture.populated(0, 2)).toEqual([])
  })
})

describe('hmmRangeFault(), the examples of default_flags and pfn_flags_mask (RF-39)', () => {
  it('default F, mask 0 faults every page for reading', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    const answer = fixture.fault61(0, 4, { default: F })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z V:z V:z V:z'])
  })

  it('default F, mask W faults the page that asks for it for writing and the others for reading', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 4, 'read')
    let answer = fixture.fault61(0, 4, { default: F, mask: W, requests: [0n, 0n, 0n, W] })
    expect(answer.result).toBe(-EBUSY) // page 3 had the zero page
    answer = fixture.fault61(0, 4, { default: F, mask: W, requests: [0n, 0n, 0n, W] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z V:z V:z VW:0'])
  })

  it('default 0, mask all ones uses the requests of the pages alone', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 1, 'read')
    const answer = fixture.fault61(0, 4, { mask: 2n ** 64n - 1n, requests: [F, 0n, 0n, FW] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z 0 0 VW:0'])
  })

  it('default 0, mask 0 changes nothing and says what is there', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(1, 1, 'write')
    const answer = fixture.fault61(0, 4, { requests: [FW, FW, FW, FW] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, '0 VW:0 0 0'])
    expect(fixture.populated(0, 4)).toEqual([1])
    expect(fixture.events).toEqual([]) // INV-10
  })
})

describe('hmmRangeFault(), extents and over-faulting', () => {
  it('faults a whole hole if one page of it is asked for (RF-45, TS-41)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 8)
    const answer = fixture.fault61(0, 8, { mask: F, requests: [0n, 0n, 0n, F] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z V:z V:z V:z V:z V:z V:z V:z'])
  })

  it('faults a whole hole for writing if one page of it asks for that (TS-42)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 8)
    const answer = fixture.fault61(0, 8, { default: F, mask: W, requests: [0n, 0n, 0n, W] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1 VW:2 VW:3 VW:4 VW:5 VW:6 VW:7'])
  })

  it('faults from the page that needs it to the end of the table extent (RF-46, TS-43)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 8)
    fixture.touch(0, 1, 'read')
    const answer = fixture.fault61(0, 8, { mask: FW, requests: [0n, 0n, 0n, FW] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z 0 0 VW:0 VW:1 VW:2 VW:3 VW:4'])
  })

  it('passes pages that are valid already to the fault too (RF-49)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(1, 3, 'read')
    const answer = fixture.fault61(0, 4, { mask: FW, requests: [FW] })
    expect(answer.result).toBe(-EBUSY) // page 0 was empty, but the zero pages behind it were written
    expect(tokens(fixture, fixture.fault61(0, 4))).toBe('VW:0 VW:1 VW:2 VW:3')
  })

  it('faults nothing outside the range (RF-47)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 8)
    expect(fixture.fault61(2, 3, { default: FW }).result).toBe(0)
    expect(fixture.populated(0, 8)).toEqual([2, 3, 4])
  })

  /** Maps 1024 pages around a border and asks for the first page only; says which of the first and last are there. */
  function hole(prepare: (fixture: HmmFixture) => void, page = 256): number[] {
    const fixture = new HmmFixture({ nframes: 8192 })
    fixture.map(page, 512)
    prepare(fixture)
    const requests = repeat(512, 0n)
    requests[0] = FW
    expect(fixture.fault61(page, 512, { mask: FW, requests }).result).toBe(0)
    return [fixture.entryFlags(page) !== 0 ? 1 : 0, fixture.entryFlags(page + 511) !== 0 ? 1 : 0]
  }

  it('a hole is 1 GiB where the middle-level table is missing, and 2 MiB where only the last is (RF-44)', () => {
    expect(hole(() => {})).toEqual([1, 1])
    expect(hole((fixture) => fixture.mm.pageTable.allocPmd(BASE))).toEqual([1, 0])
  })

  it('a hole is 512 GiB where the upper-level table is missing (RF-44)', () => {
    const page = PUD_SIZE / PAGE_SIZE - 256
    expect(hole(() => {}, page)).toEqual([1, 1])
    // A table far away in the same 512 GiB makes each GiB a hole of its own.
    expect(hole((fixture) => fixture.mm.pageTable.allocPmd(BASE + 100 * PUD_SIZE), page)).toEqual([1, 0])
  })

  it('a table extent ends at the border of the table (RF-44)', () => {
    const fixture = new HmmFixture()
    fixture.map(508, 8)
    fixture.setEntry(508, 0)
    fixture.setEntry(515, 0)
    const answer = fixture.fault61(508, 8, { mask: FW, requests: [0n, FW] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, '0 VW:0 VW:1 VW:2 0 0 0 0'])
  })

  it('cuts the range at mappings, even where they touch (RF-43)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.map(4, 4, PROT_READ)
    const answer = fixture.fault61(0, 8, { mask: F, requests: [F] })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:z V:z V:z V:z 0 0 0 0'])
  })
})

describe('hmmRangeFault(), the state of a page', () => {
  // An entry, what a snapshot makes of it, and what F and FW requests return (RF-61 to RF-72).
  interface State {
    readonly name: string
    readonly entry: [flags: number, pfn?: number]
    readonly snapshot: bigint
    readonly read: number
    readonly write: number
  }
  const states: State[] = [
    { name: 'a PTE marker (RF-61)', entry: [PTE_KIND_MARKER], snapshot: 0n, read: -EFAULT, write: -EFAULT },
    { name: 'a swap entry (RF-62)', entry: [PTE_KIND_SWAP, 3], snapshot: 0n, read: 1, write: 1 },
    { name: 'a poisoned page (RF-67)', entry: [PTE_KIND_HWPOISON, 77], snapshot: 0n, read: -EFAULT, write: -EFAULT },
    { name: 'a swap-in error (RF-67)', entry: [PTE_KIND_SWAPIN_ERROR], snapshot: 0n, read: -EFAULT, write: -EFAULT },
    {
      name: 'an entry without access (RF-68, RF-126)',
      entry: [PTE_PRESENT | PTE_PROTNONE, 0x1234],
      snapshot: 0x1234n,
      read: 1,
      write: 1,
    },
    {
      name: 'a read-only page (RF-69, RF-121)',
      entry: [PTE_PRESENT, 0x1234],
      snapshot: 0x8000000000001234n,
      read: 0,
      write: 1,
    },
    {
      name: 'a writable page (RF-70, RF-122)',
      entry: [PTE_PRESENT | PTE_WRITE, 0x1234],
      snapshot: 0xc000000000001234n,
      read: 0,
      write: 0,
    },
    {
      name: 'a frame number without a page (RF-72, RF-125)',
      entry: [PTE_PRESENT | PTE_SPECIAL | PTE_WRITE, 777],
      snapshot: 0x2000000000000000n,
      read: -EFAULT,
      write: -EFAULT,
    },
  ]
  for (const { name, entry, snapshot, read, write } of states) {
    it(`${name}: 0x${snapshot.toString(16)} in a snapshot`, () => {
      const fixture = new HmmFixture()
      fixture.map(0, 1)
      fixture.setEntry(0, ...entry)
      for (const request of [0n, W])
        expect(fixture.fault61(0, 1, { default: request })).toEqual({ result: 0, entries: [snapshot] })
      expect([fixture.entryFlags(0), fixture.entryPfn(0)]).toEqual([entry[0], entry[1] ?? 0])
    })
    // 1: the page would be faulted in, which the entry of this test has nothing behind it for.
    for (const [request, wanted] of [
      [F, read],
      [FW, write],
    ] as const) {
      if (wanted === 1) continue
      it(`${name}: ${wanted === 0 ? 'the same' : 'an error'} with ${request === F ? 'F' : 'FW'}`, () => {
        const fixture = new HmmFixture()
        fixture.map(0, 1)
        fixture.setEntry(0, ...entry)
        const answer = fixture.fault61(0, 1, { default: request })
        expect(answer).toEqual({ result: wanted, entries: [wanted === 0 ? snapshot : 0n] })
      })
    }
  }

  it('a special entry that is read-only goes to the write fault first (RF-79a)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1, PROT_READ)
    fixture.setEntry(0, PTE_PRESENT | PTE_SPECIAL, 777)
    expect(fixture.fault61(0, 1, { default: F }).result).toBe(-EFAULT)
    expect(fixture.fault61(0, 1, { default: FW }).result).toBe(-EPERM)
  })

  it('the zero page is a page like any other, read-only (RF-71)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.touch(0, 1, 'read')
    const zero = BigInt(fixture.sys.zeroPfn)
    expect(fixture.fault61(0, 1).entries).toEqual([VALID | zero])
    expect(fixture.fault61(0, 1, { default: F })).toEqual({ result: 0, entries: [VALID | zero] })
    expect(fixture.fault61(0, 1, { default: FW }).result).toBe(-EBUSY)
    expect(fixture.events).toEqual([[MMU_NOTIFY_CLEAR, 0, 1]])
    expect(tokens(fixture, fixture.fault61(0, 1, { default: FW }))).toBe('VW:0')
  })

  it('device-private memory of the owner is reported whatever is requested (RF-64, RF-109)', () => {
    const owner = {}
    const fixture = new HmmFixture()
    const { pfn } = fixture.addDevice(owner)
    fixture.map(0, 1, PROT_READ)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE, pfn)
    for (const request of [0n, F, FW]) {
      expect(fixture.fault61(0, 1, { default: request, owner })).toEqual({ result: 0, entries: [VALID | BigInt(pfn)] })
    }
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, pfn)
    expect(fixture.fault61(0, 1, { owner }).entries).toEqual([VALID | WRITE | BigInt(pfn)])
  })

  it('neighbouring pages of the owner are told apart by their rights, and from those of others', () => {
    const owner = {}
    const fixture = new HmmFixture()
    const own = fixture.addDevice(owner)
    const other = fixture.addDevice({})
    const last = own.pfn + own.pagemap.npages - 1
    fixture.map(0, 6)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, own.pfn)
    fixture.setEntry(1, PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, own.pfn + 1)
    fixture.setEntry(2, PTE_KIND_DEVICE_PRIVATE, own.pfn + 2)
    fixture.setEntry(3, PTE_KIND_DEVICE_PRIVATE, last)
    fixture.setEntry(4, PTE_KIND_DEVICE_PRIVATE, other.pfn)
    fixture.setEntry(5, PTE_KIND_DEVICE_PRIVATE, own.pfn)
    const page = (pfn: number): bigint => VALID | BigInt(pfn)
    expect(fixture.fault61(0, 6, { owner }).entries).toEqual([
      WRITE | page(own.pfn),
      WRITE | page(own.pfn + 1),
      page(own.pfn + 2),
      page(last),
      0n,
      page(own.pfn),
    ])
  })

  it('device-private memory of somebody else is nothing in a snapshot and brought back on request (RF-65)', () => {
    const fixture = new HmmFixture()
    const device = fixture.addDevice('other', (vmf) => {
      invalidate(fixture, 0, 1)
      fixture.setEntry(0, PTE_PRESENT | PTE_WRITE, 0x99)
      expect([vmf.page, vmf.address]).toEqual([device.pfn, fixture.addr(0)])
      return 0
    })
    fixture.map(0, 1)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, device.pfn)
    for (const owner of ['me', null]) expect(fixture.fault61(0, 1, { owner }).entries).toEqual([0n])
    expect(fixture.fault61(0, 1, { default: F, owner: 'me' })).toEqual({ result: -EBUSY, entries: [0n] })
    expect(fixture.fault61(0, 1, { default: F, owner: 'me' })).toEqual({ result: 0, entries: [VALID | WRITE | 0x99n] })
  })

  it('a device-exclusive page is nothing in a snapshot (RF-66)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    fixture.setEntry(0, PTE_KIND_DEVICE_EXCLUSIVE | PTE_WRITE, fixture.entryPfn(0))
    expect(fixture.fault61(0, 1).entries).toEqual([0n])
  })

  it('a migration entry is nothing in a snapshot, and waited for on request (RF-63)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 4, 'write')
    const pfn = fixture.entryPfn(2)
    fixture.setEntry(2, PTE_KIND_MIGRATION | PTE_WRITE, pfn)
    expect(fixture.fault61(2, 1)).toEqual({ result: 0, entries: [0n] })

    const answer = fixture.fault61(0, 4, { default: F })
    expect(answer.result).toBe(-EAGAIN)
    expect(answer.entries.slice(0, 2).map((entry) => entry >> 62n)).toEqual([3n, 3n]) // final
    expect(answer.entries.slice(2)).toEqual([0n, 0n]) // requests
    expect(fixture.sys.waitFor).not.toBeNull()

    fixture.setEntry(2, PTE_PRESENT | PTE_WRITE, pfn)
    expect(fixture.fault61(0, 4, { default: F }).result).toBe(0)
  })

  it('a fault that cannot finish yet makes the call wait (VM_FAULT_RETRY)', () => {
    const fixture = new HmmFixture()
    const copied = new WaitQueue()
    const { pfn } = fixture.addDevice('other', () => {
      fixture.sys.waitFor = copied
      return VM_FAULT_RETRY
    })
    fixture.map(0, 1)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE, pfn)
    expect(fixture.fault61(0, 1, { default: F })).toEqual({ result: -EAGAIN, entries: [0n] })
    expect(fixture.sys.waitFor).toBe(copied)
  })

  it('a fault handler without effect ends in -EBUSY instead of hanging', () => {
    const fixture = new HmmFixture()
    let calls = 0
    const { pfn } = fixture.addDevice('other', () => {
      calls++
      return 0
    })
    fixture.map(0, 1)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE, pfn)
    expect(fixture.fault61(0, 1, { default: F })).toEqual({ result: -EBUSY, entries: [0n] })
    expect(calls).toBeGreaterThan(4)
  })
})

describe('hmmRangeFault(), huge entries', () => {
  const HEAD = 1024

  it('gives each page of a huge mapping its frame and order 9, also from the middle (RF-24, RF-74, RF-123)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 512)
    fixture.setHugeEntry(0, PTE_PRESENT | PTE_WRITE | PTE_HUGE, HEAD)
    const answer = fixture.fault61(510, 2, { default: FW })
    const flags = VALID | WRITE | ORDER9
    expect(answer).toEqual({ result: 0, entries: [flags | BigInt(HEAD + 510), flags | BigInt(HEAD + 511)] })
    expect(fixture.fault61(0, 1).entries).toEqual([0xc900000000000000n | BigInt(HEAD)])
  })

  it('reports no order where the CPU has no access (RF-74)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 512)
    fixture.setHugeEntry(0, PTE_PRESENT | PTE_PROTNONE | PTE_HUGE, HEAD)
    expect(fixture.fault61(3, 1).entries).toEqual([BigInt(HEAD + 3)])
  })

  it('a huge migration entry is nothing in a snapshot (RF-75)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 512)
    fixture.setHugeEntry(0, PTE_KIND_MIGRATION | PTE_HUGE, HEAD)
    expect(fixture.fault61(0, 3)).toEqual({ result: 0, entries: [0n, 0n, 0n] })
  })

  it('another huge entry that is not present is ERROR, and -EFAULT on request (RF-76)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 512)
    fixture.setHugeEntry(0, PTE_KIND_HWPOISON | PTE_HUGE, HEAD)
    expect(fixture.fault61(0, 2)).toEqual({ result: 0, entries: [ERROR, ERROR] })
    expect(fixture.fault61(0, 2, { mask: F, requests: [0n, F] }).result).toBe(-EFAULT)
  })

  it('a hugetlb page is decided by the first page of the range alone (RF-78)', () => {
    const fixture = new HmmFixture()
    const vma = fixture.map(0, 512)
    vma.flags |= VM_HUGETLB
    fixture.setHugeEntry(0, PTE_PRESENT | PTE_HUGE, HEAD)
    const answer = fixture.fault61(4, 2, { mask: FW, requests: [F, FW] })
    const flags = VALID | ORDER9
    expect(answer).toEqual({ result: 0, entries: [flags | BigInt(HEAD + 4), flags | BigInt(HEAD + 5)] })
  })

  it('an empty hugetlb entry keeps place and order, without VALID (RF-78)', () => {
    const fixture = new HmmFixture()
    const vma = fixture.map(0, 512)
    vma.flags |= VM_HUGETLB
    expect(fixture.fault61(3, 2).entries).toEqual([0n, 0n]) // no slot for it yet (RF-79)
    fixture.mm.pageTable.allocPmd(BASE)
    expect(fixture.fault61(3, 2).entries).toEqual([ORDER9 | 3n, ORDER9 | 4n])
  })
})

describe('hmmRangeFault(), mappings that are refused and holes', () => {
  it('says ERROR for a mapping without READ and for an address hole, in a snapshot (RF-50, RF-52, RF-124, TS-40)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.map(2, 2, PROT_NONE)
    fixture.map(6, 1, PROT_WRITE)
    const answer = fixture.fault61(0, 8)
    expect(answer).toEqual({ result: 0, entries: [0n, 0n, ...repeat(6, ERROR)] })
  })

  it('says ERROR for I/O and raw mappings, and accepts mixed ones (RF-50, RF-51)', () => {
    for (const [flag, entry] of [
      [VM_IO, ERROR],
      [VM_PFNMAP, ERROR],
      [VM_MIXEDMAP, 0n],
    ] as const) {
      const fixture = new HmmFixture()
      fixture.map(0, 1).flags |= flag
      expect(fixture.fault61(0, 1).entries).toEqual([entry])
    }
  })

  it('returns -EFAULT if any page of the hole or of the refused part is asked for, before writing any (RF-52, RF-104)', () => {
    const fixture = new HmmFixture()
    fixture.map(2, 1, PROT_NONE)
    expect(fixture.fault61(0, 3, { mask: F, requests: [0n, F] })).toEqual({ result: -EFAULT, entries: [0n, F, 0n] })
    expect(fixture.fault61(0, 3, { mask: F, requests: [0n, 0n, F] })).toEqual({
      result: -EFAULT,
      entries: [ERROR, ERROR, F],
    })
  })

  it('refuses before it looks at what is mapped there (RF-50)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    const vma = fixture.mm.vmaLookup(BASE)
    if (vma !== null) vma.flags &= ~1 // VM_READ
    expect(fixture.fault61(0, 1).entries).toEqual([ERROR])
    expect(fixture.fault61(0, 1, { default: F }).result).toBe(-EFAULT)
  })
})

describe('hmmRangeFault(), results', () => {
  it('-EINVAL for an empty or inverted range, after the sequence check (RF-11, RF-101)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    expect(fixture.fault61(0, 0).result).toBe(-EINVAL)
    const inverted = fixture.range61(1, 1)
    inverted.end = fixture.addr(0)
    expect(fixture.call(inverted).result).toBe(-EINVAL)
    inverted.notifierSeq += 2
    expect(fixture.call(inverted).result).toBe(-EBUSY)
  })

  it('-EBUSY if an event came since the read section began, with nothing written (RF-102)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.touch(0, 2, 'write')
    const range = fixture.range61(0, 2, { mask: F, requests: [F, 0n] })
    invalidate(fixture, 100, 1)
    expect(fixture.call(range)).toEqual({ result: -EBUSY, entries: [F, 0n] })
  })

  it('-EBUSY once when a fault raises an event over the range itself, then 0 (RF-79b, TS-44)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 4, 'read')
    const first = fixture.fault61(0, 4, { mask: FW, requests: repeat(4, FW) })
    expect(first).toEqual({ result: -EBUSY, entries: repeat(4, FW) })
    expect(fixture.events).toEqual([0, 1, 2, 3].map((page) => [MMU_NOTIFY_CLEAR, page, page + 1]))
    const second = fixture.fault61(0, 4, { mask: FW, requests: repeat(4, FW) })
    expect([second.result, tokens(fixture, second)]).toEqual([0, 'VW:0 VW:1 VW:2 VW:3'])
  })

  it('0 at once when empty pages are faulted: that raises nothing (RF-79b, RF-100)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    expect(fixture.fault61(0, 4, { default: FW }).result).toBe(0)
    expect(fixture.events).toEqual([])
  })

  it('-EPERM for a write to a read-only mapping; entries before it are final, it and the rest inputs (RF-103, TS-46)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.map(2, 2, PROT_READ)
    fixture.map(4, 2)
    const answer = fixture.fault61(0, 6, { mask: FW, requests: repeat(6, FW) })
    expect(answer.result).toBe(-EPERM)
    expect(answer.entries.slice(0, 2).map((entry) => entry >> 62n)).toEqual([3n, 3n])
    expect(answer.entries.slice(2)).toEqual(repeat(4, FW))
    expect(fixture.populated(0, 6)).toEqual([0, 1])
  })

  it('-EFAULT inside a table leaves what it wrote before (RF-106, RF-107)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.touch(0, 1, 'write')
    fixture.setEntry(1, PTE_KIND_HWPOISON, 5)
    const answer = fixture.fault61(0, 3, { mask: FW, requests: [0n, F, 0n] })
    expect(answer.result).toBe(-EFAULT)
    expect(answer.entries[0] >> 62n).toBe(3n)
    expect(answer.entries.slice(1)).toEqual([F, 0n])
  })

  it('-EFAULT when memory runs out in the fault handler: -ENOMEM is never returned (RF-105)', () => {
    const fixture = new HmmFixture({ nframes: 8 })
    fixture.map(0, 32)
    expect(fixture.fault61(0, 32, { default: FW }).result).toBe(-EFAULT)
    expect(fixture.populated(0, 32).length).toBeGreaterThan(0)
  })

  it('wants the mmapLock and an entry for every page', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    expect(() => hmmRangeFault(fixture.range61(0, 2))).toThrow(AssertionError)
    const short = { ...fixture.range61(0, 2), hmmPfns: new BigUint64Array(1) }
    expect(fixture.mm.mmapLock.tryRead()).toBe(true)
    expect(() => hmmRangeFault(short)).toThrow(AssertionError)
    fixture.mm.mmapLock.unlockRead()
  })

  it('works on an array that is part of a larger buffer', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.touch(0, 2, 'write')
    const all = new BigUint64Array(4).fill(7n)
    const range = { ...fixture.range61(0, 2), hmmPfns: all.subarray(1, 3) }
    expect(fixture.call(range).result).toBe(0)
    expect([all[0], all[1] >> 62n, all[2] >> 62n, all[3]]).toEqual([7n, 3n, 3n, 7n])
  })

  it('leaves entries behind the range alone', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 4, 'write')
    const range = fixture.range61(0, 4, { requests: [1n, 1n, 1n, 1n] })
    range.end = fixture.addr(2)
    fixture.call(range)
    expect([...range.hmmPfns.subarray(2)]).toEqual([1n, 1n])
  })

  it('satisfies every request after 0 (INV-11), over tables, mappings and holes in the table', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 600)
    fixture.map(600, 600)
    fixture.touch(3, 1, 'write')
    fixture.touch(700, 2, 'read')
    let answer = fixture.fault61(0, 1200, { default: FW })
    if (answer.result === -EBUSY) answer = fixture.fault61(0, 1200, { default: FW })
    expect(answer.result).toBe(0)
    expect(answer.entries.every((entry) => entry >> 62n === 3n)).toBe(true)
    expect(new Set(answer.entries).size).toBe(1200)
    expect(answer.entries[1199]).toBe(VALID | WRITE | BigInt(fixture.entryPfn(1199)))
  })
})

describe('hmmRangeFault() in the form of v5.7', () => {
  it('gives the worked values (RF-120 to RF-126)', () => {
    const owner = {}
    const fixture = new HmmFixture()
    const { pfn } = fixture.addDevice('other')
    fixture.map(0, 8)
    fixture.setEntry(0, PTE_KIND_SWAP, 5)
    fixture.setEntry(1, PTE_KIND_DEVICE_PRIVATE, pfn)
    fixture.setEntry(2, PTE_KIND_DEVICE_EXCLUSIVE, 9)
    fixture.setEntry(3, PTE_PRESENT, 0x1234)
    fixture.setEntry(4, PTE_PRESENT | PTE_WRITE, 0x1234)
    fixture.setEntry(5, PTE_PRESENT | PTE_SPECIAL, 777)
    fixture.setEntry(6, PTE_PRESENT | PTE_PROTNONE, 0x1234)
    fixture.setEntry(7, 0)
    expect(fixture.fault57(0, 9, { owner })).toEqual({
      result: 0,
      entries: [0n, 0n, 0n, 0x1234001n, 0x1234003n, 8n, 0x1234000n, 0n, 4n],
    })
  })

  it('gives a huge page no order (RF-26, RF-123)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 512)
    fixture.setHugeEntry(0, PTE_PRESENT | PTE_WRITE | PTE_HUGE, 0x1200)
    expect(fixture.fault57(0x34, 1).entries).toEqual([0x1234003n])
  })

  it('takes requests in the bits of the driver (RF-28)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 4)
    fixture.touch(0, 1, 'write')
    const answer = fixture.fault57(0, 4, { mask: 3n, requests: [0n, 2n, 0n, 3n] })
    expect(answer.result).toBe(0)
    expect(answer.entries.map((entry) => entry & 0xfffn)).toEqual([3n, 0n, 0n, 3n])
    expect(hmmDeviceEntryToPage({ flags: [1n, 2n], values: [4n, 0n, 8n], pfnShift: 12 }, answer.entries[3])).toBe(
      fixture.entryPfn(3),
    )
  })

  it('has any values and flags, in the high word too, and any shift (RF-26, RF-30)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.map(4, 1)
    fixture.setEntry(0, PTE_PRESENT, 0xffff_fff1)
    fixture.setEntry(1, PTE_PRESENT | PTE_WRITE, 0xffff_fff1)
    const tables = { flags: [1n << 63n, 1n << 62n], values: [0xdead_0000_0001n, 0xbeef_0000_0002n, 3n] }
    for (const pfnShift of [0, 1, 12]) {
      const entry = 0xffff_fff1n << BigInt(pfnShift)
      expect(fixture.fault57(0, 5, { ...tables, pfnShift }).entries).toEqual([
        (1n << 63n) | entry,
        (3n << 62n) | entry,
        0xbeef_0000_0002n,
        0xdead_0000_0001n,
        0xbeef_0000_0002n,
      ])
    }
  })

  it('keeps inputs on failure, as the 6.1 form does (VR-17)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.map(1, 1, PROT_READ)
    const answer = fixture.fault57(0, 2, { mask: 3n, requests: [3n, 3n] })
    expect(answer.result).toBe(-EPERM)
    expect(answer.entries).toEqual([(BigInt(fixture.entryPfn(0)) << 12n) | 3n, 3n])
  })
})

describe('hmmDeviceEntryToPage()', () => {
  const range = { flags: [1n, 2n], values: [4n, 0n, 8n], pfnShift: 12 }

  it('decodes the worked values (RF-31, RF-127)', () => {
    expect(hmmDeviceEntryToPage(range, 0x1234003n)).toBe(0x1234)
    expect(hmmDeviceEntryToPage(range, 0x1234000n)).toBe(-1)
    expect([4n, 0n, 8n].map((value) => hmmDeviceEntryToPage(range, value))).toEqual([-1, -1, -1])
  })

  it('tests the values before the flag', () => {
    expect(hmmDeviceEntryToPage({ ...range, values: [0x5001n, 0n, 8n] }, 0x5001n)).toBe(-1)
  })

  it('undoes hmmDeviceEntryFromPfn() (RF-32)', () => {
    expect(hmmDeviceEntryFromPfn(range, 0x1234)).toBe(0x1234001n)
    expect(hmmDeviceEntryToPage(range, hmmDeviceEntryFromPfn(range, 0x1234))).toBe(0x1234)
  })
})

describe('hmmRangeFault() with version 5.7', () => {
  it('counts pages, up to the last hole of the table (RF-110)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 8)
    expect(fixture.fault57(0, 8, { version: '5.7' }).result).toBe(0) // one hole
    fixture.touch(0, 8, 'write')
    expect(fixture.fault57(0, 8, { version: '5.7' }).result).toBe(8)
    expect(fixture.fault61(0, 8, { version: '5.7' }).result).toBe(8)
    expect(fixture.fault61(0, 8, { version: '6.1' }).result).toBe(0)
  })

  it('counts up to the start of a hole extent, and not over an address hole (RF-110)', () => {
    const fixture = new HmmFixture()
    fixture.map(510, 6)
    fixture.touch(510, 2, 'write')
    expect(fixture.fault57(510, 6, { version: '5.7' }).result).toBe(2) // a hole from page 512
    expect(fixture.fault57(508, 4, { version: '5.7' }).result).toBe(4)
    expect(fixture.fault57(500, 10, { version: '5.7' }).result).toBe(0)
  })

  it('counts a refused mapping, and pages that were faulted in', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2, PROT_NONE)
    fixture.map(2, 2, RW)
    expect(fixture.fault57(0, 2, { version: '5.7' }).result).toBe(2)
    expect(fixture.fault57(2, 2, { version: '5.7', default: 3n }).result).toBe(2)
  })

  it('returns -EFAULT for device-private memory of another owner that is requested (RF-111)', () => {
    const fixture = new HmmFixture()
    const { pfn } = fixture.addDevice('other')
    fixture.map(0, 1)
    fixture.setEntry(0, PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, pfn)
    expect(fixture.fault57(0, 1, { version: '5.7', owner: 'me' }).entries).toEqual([0n])
    expect(fixture.fault57(0, 1, { version: '5.7', owner: 'me', default: 1n }).result).toBe(-EFAULT)
    expect(fixture.fault57(0, 1, { version: '5.7', owner: 'other', default: 1n }).result).toBe(1)
  })

  it('refuses mixed mappings (RF-112)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1).flags |= VM_MIXEDMAP
    expect(fixture.fault57(0, 1, { version: '5.7' }).entries).toEqual([4n])
    expect(fixture.fault57(0, 1).entries).toEqual([0n])
  })

  it('adds VALID to every frame number (RF-113)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.setEntry(0, PTE_PRESENT | PTE_PROTNONE, 0x1234)
    expect(fixture.fault57(0, 1, { version: '5.7' }).entries).toEqual([0x1234001n])
    expect(fixture.fault61(0, 1, { version: '5.7' }).entries).toEqual([VALID | 0x1234n])
  })
})

it('a hole extent is clipped to the range, however large the range (PMD_SIZE of pages at a time)', () => {
  const fixture = new HmmFixture()
  const npages = (4 * PMD_SIZE) / PAGE_SIZE
  fixture.map(0, npages)
  fixture.touch(npages - 1, 1, 'write')
  const answer = fixture.fault61(0, npages)
  expect(answer.result).toBe(0)
  expect(answer.entries.filter((entry) => entry !== 0n)).toEqual([VALID | WRITE | BigInt(fixture.entryPfn(npages - 1))])
})
