// Bad input to every public function: the core answers with the kernel's error number, what programs call throws an error that
// has a name, and nothing has changed afterwards: not a page, a counter, a table or a byte. The last test holds the list of
// what was tried against what the entry point `hetmem/hmm` exports, so that no function is forgotten.

import { describe, expect, it } from 'vitest'
import { HPAGE_PMD_NR, PAGE_SIZE, PMD_SIZE, TASK_SIZE } from '../../src/base/addr.ts'
import { AssertionError } from '../../src/base/assert.ts'
import {
  EACCES,
  EBADF,
  EBUSY,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  EOVERFLOW,
  EPERM,
  type ErrnoName,
  MmError,
} from '../../src/base/errno.ts'
import { DmirrorDevice, DmirrorHandle, type DmirrorResult } from '../../src/devices/dmirror/index.ts'
import * as entry from '../../src/hmm-entry.ts'
import { AccessSignal, Machine, MemoryFile, Process } from '../../src/machine/index.ts'
import type { Vma } from '../../src/mm/vma.ts'
import {
  MADV_DONTNEED,
  MADV_PAGEOUT,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_HUGETLB,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../src/uapi/mman.ts'
import { machineState } from '../helpers/machine-state.ts'
import { BASE, MmFixture } from '../helpers/mm-fixture.ts'

const RW = PROT_READ | PROT_WRITE
const ANON = MAP_PRIVATE | MAP_ANONYMOUS
const FIXED = ANON | MAP_FIXED
const { NaN: NAN, POSITIVE_INFINITY: ENDLESS } = Number
const WRITABLE = { write: true }

/** Pages of the world. */
const MEMORY = 0
const SHARED = 1
const ZERO = 2
const EMPTY = 3
const DEVICE = 4
const EXCLUSIVE = 5
const COHERENT = 6
const SWAPPED = 7
const READ_ONLY = 10
const NO_ACCESS = 12
const FILE = 14
const RAW = 16
const HOLE = 30
const HUGE = 1024

/** A machine with a page in every state, a device of a test's own, and another machine beside it. */
class World {
  readonly fixture = new MmFixture({ memory: '8 MiB', swap: '64 KiB', hugetlbPages: 1 })
  readonly machine = this.fixture.machine
  readonly sys = this.fixture.sys
  readonly process = this.fixture.process
  readonly mm = this.fixture.mm
  readonly file = this.machine.createFile('data', 4)
  readonly child: Process
  readonly handle: DmirrorHandle
  readonly closedHandle: DmirrorHandle
  readonly pagemap: entry.DevPagemap
  /** A mapping that is gone. */
  readonly stale: Vma
  readonly closed = this.machine.createFile('closed', 4)
  readonly dead: entry.Mm
  readonly other = new MmFixture({ memory: '1 MiB' })

  constructor() {
    const { fixture, process } = this
    this.closed.close()
    fixture.mmap(MEMORY, 8)
    fixture.store(SHARED)
    this.child = fixture.fork()
    for (const page of [MEMORY, DEVICE, EXCLUSIVE, COHERENT, SWAPPED]) fixture.store(page, 1, 10 + page)
    fixture.load(ZERO)
    this.handle = fixture.dev(0)
    this.closedHandle = fixture.dev(1)
    expect(this.closedHandle.close()).toBe(0)
    fixture.migrateToDev(0, DEVICE, 1)
    fixture.migrateToDev(2, COHERENT, 1)
    fixture.exclusive(0, EXCLUSIVE, 1)
    fixture.madvise(SWAPPED, 1, MADV_PAGEOUT)
    fixture.mmap(READ_ONLY, 1)
    fixture.store(READ_ONLY)
    fixture.mprotect(READ_ONLY, 1, PROT_READ)
    fixture.mmap(NO_ACCESS, 1, { prot: PROT_NONE })
    fixture.mmap(FILE, 1, { file: this.file, shared: true })
    fixture.store(FILE)
    fixture.mmap(RAW, 1)
    expect(entry.remapPfnRange(fixture.vma(RAW), this.addr(RAW), 777, 1)).toBe(0)
    process.mmap({ addr: this.addr(HUGE), length: PMD_SIZE, fixed: true, hugetlb: true })
    process.store32(this.addr(HUGE), 1)
    fixture.mmap(40, 1)
    this.stale = fixture.vma(40)
    fixture.munmap(40, 1)
    const ended = this.machine.createProcess('ended')
    this.dead = ended.mm
    ended.exit()
    const pagemap = entry.memremapPages(this.sys, {
      type: entry.MEMORY_DEVICE_PRIVATE,
      npages: 4,
      owner: this,
      ops: { pageFree: () => {}, migrateToRam: () => 0 },
    })
    if (typeof pagemap === 'number') throw new Error(`memremapPages returned ${pagemap}`)
    this.pagemap = pagemap
    expect([fixture.pte(0, 8), fixture.pte(8, 10)]).toEqual(['wrz-DXGs', '__r_-_w_S_'])
  }

  addr(page: number): number {
    return BASE + page * PAGE_SIZE
  }

  vma(page: number): Vma {
    return this.fixture.vma(page)
  }

  get freePfn(): number {
    let pfn = 0
    while (this.sys.pages.flags[pfn] !== 0) pfn++
    return pfn
  }

  /** A notifier over the arena, gone again when the call is over. */
  notifier(): entry.MmuIntervalNotifier {
    return this.fixture.log.sub
  }

  /** A range for hmmRangeFault. */
  range(page: number, npages: number, change: Partial<entry.HmmRange61> = {}): entry.HmmRange61 {
    return {
      notifier: this.notifier(),
      notifierSeq: entry.mmuIntervalReadBegin(this.notifier()),
      start: this.addr(page),
      end: this.addr(page + npages),
      hmmPfns: new BigUint64Array(npages),
      defaultFlags: entry.HMM_PFN_REQ_FAULT,
      pfnFlagsMask: 0n,
      devPrivateOwner: null,
      ...change,
    }
  }

  /** Does something with mmapLock held for reading. */
  locked<T>(operation: () => T): T {
    expect(this.mm.mmapLock.tryRead()).toBe(true)
    try {
      return operation()
    } finally {
      this.mm.mmapLock.unlockRead()
    }
  }
}

/** An error of the name, and where that says something, its code or reason. */
interface Thrown {
  readonly throws: typeof TypeError | typeof RangeError | typeof AssertionError | typeof MmError | typeof AccessSignal
  readonly code?: ErrnoName
}

const TYPE: Thrown = { throws: TypeError }
const RANGE: Thrown = { throws: RangeError }
const ASSERT: Thrown = { throws: AssertionError }
const SIGNAL: Thrown = { throws: AccessSignal }
const mmError = (code: ErrnoName): Thrown => ({ throws: MmError, code })

/** What is tried, the call, and what it answers or throws. */
type Case = readonly [what: string, call: (world: World) => unknown, expected: unknown]

function isThrown(expected: unknown): expected is Thrown {
  return typeof expected === 'object' && expected !== null && 'throws' in expected
}

function run(world: World, [what, call, expected]: Case): void {
  const before = machineState(world.sys)
  if (isThrown(expected)) {
    let error: unknown
    try {
      call(world)
    } catch (thrown) {
      error = thrown
    }
    expect(error, what).toBeInstanceOf(expected.throws)
    if (error instanceof MmError) {
      expect(error.code, what).toBe(expected.code)
      expect(error.syscall).not.toBe('')
    }
  } else {
    expect(call(world), what).toEqual(expected)
  }
  expect(machineState(world.sys), what).toEqual(before)
  world.fixture.validate()
}

/** Cases of one argument after the other; `call` gets the bad one. */
function each<T>(
  what: string,
  values: readonly T[],
  call: (world: World, value: T) => unknown,
  expected: unknown,
): Case[] {
  return values.map((value) => [`${what} ${String(value)}`, (world) => call(world, value), expected])
}

const BAD_NUMBERS = [NAN, ENDLESS, 0.5]
const UNALIGNED = [BASE + 1, BASE + 4095]

const CORE: Record<string, readonly Case[]> = {
  mmMmap: [
    ...each(
      'at',
      [...UNALIGNED, -PAGE_SIZE, ...BAD_NUMBERS],
      (w, a) => entry.mmMmap(w.mm, a, PAGE_SIZE, RW, FIXED),
      -EINVAL,
    ),
    ...each('length', [0, -1, ...BAD_NUMBERS], (w, n) => entry.mmMmap(w.mm, BASE, n, RW, FIXED), -EINVAL),
    ['beyond 2^47', (w) => entry.mmMmap(w.mm, TASK_SIZE, PAGE_SIZE, RW, FIXED), -ENOMEM],
    ['longer than the address space', (w) => entry.mmMmap(w.mm, 0, TASK_SIZE + PAGE_SIZE, RW, ANON), -ENOMEM],
    ['neither shared nor private', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_ANONYMOUS | MAP_FIXED), -EINVAL],
    ['shared and private', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, FIXED | MAP_SHARED), -EINVAL],
    ['flags NaN', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, NAN), -EBADF],
    ['no file', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED), -EBADF],
    ['a file that is gone', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, w.closed), -EBADF],
    [
      'a file of another machine',
      (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, w.other.machine.createFile('x', 1)),
      -EBADF,
    ],
    ...each(
      'from page',
      [-1, ...BAD_NUMBERS],
      (w, pgoff) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, w.file, pgoff),
      -EINVAL,
    ),
    ['too far in the file', (w) => entry.mmMmap(w.mm, BASE, PAGE_SIZE, RW, MAP_PRIVATE, w.file, 2 ** 52), -EOVERFLOW],
    ['hugetlb of a plain file', (w) => entry.mmMmap(w.mm, 0, PMD_SIZE, RW, MAP_PRIVATE | MAP_HUGETLB, w.file), -EINVAL],
    ['hugetlb at 4 KiB', (w) => entry.mmMmap(w.mm, BASE + PAGE_SIZE, PMD_SIZE, RW, FIXED | MAP_HUGETLB), -EINVAL],
    ['a dead address space', (w) => entry.mmMmap(w.dead, BASE, PAGE_SIZE, RW, FIXED), -EINVAL],
  ],
  mmMunmap: [
    ...each('at', [...UNALIGNED, -PAGE_SIZE, ...BAD_NUMBERS], (w, a) => entry.mmMunmap(w.mm, a, PAGE_SIZE), -EINVAL),
    ...each('length', [0, -1, ...BAD_NUMBERS], (w, n) => entry.mmMunmap(w.mm, BASE, n), -EINVAL),
    ['beyond 2^47', (w) => entry.mmMunmap(w.mm, TASK_SIZE, PAGE_SIZE), -EINVAL],
    ['across 2^47', (w) => entry.mmMunmap(w.mm, BASE, TASK_SIZE), -EINVAL],
    ['a part of a hugetlb page', (w) => entry.mmMunmap(w.mm, w.addr(HUGE + 1), PAGE_SIZE), -EINVAL],
  ],
  mmMprotect: [
    ...each(
      'at',
      [...UNALIGNED, -PAGE_SIZE, ...BAD_NUMBERS],
      (w, a) => entry.mmMprotect(w.mm, a, PAGE_SIZE, 0),
      -EINVAL,
    ),
    ...each('length', [-1, ...BAD_NUMBERS], (w, n) => entry.mmMprotect(w.mm, BASE, n, 0), -EINVAL),
    ...each('protection', [16, -1, ...BAD_NUMBERS], (w, p) => entry.mmMprotect(w.mm, BASE, PAGE_SIZE, p), -EINVAL),
    ['a hole', (w) => entry.mmMprotect(w.mm, w.addr(HOLE), PAGE_SIZE, RW), -ENOMEM],
    ['beyond 2^47', (w) => entry.mmMprotect(w.mm, TASK_SIZE, PAGE_SIZE, RW), -ENOMEM],
  ],
  mmMremap: [
    ...each(
      'at',
      [...UNALIGNED, -PAGE_SIZE, ...BAD_NUMBERS],
      (w, a) => entry.mmMremap(w.mm, a, PAGE_SIZE, PAGE_SIZE, 0),
      -EINVAL,
    ),
    ...each('from length', [-1, ...BAD_NUMBERS], (w, n) => entry.mmMremap(w.mm, BASE, n, PAGE_SIZE, 1), -EINVAL),
    ...each('to length', [0, -1, ...BAD_NUMBERS], (w, n) => entry.mmMremap(w.mm, BASE, PAGE_SIZE, n, 1), -EINVAL),
    ...each(
      'to',
      [BASE + 1, -PAGE_SIZE, TASK_SIZE, BASE, ...BAD_NUMBERS],
      (w, to) => entry.mmMremap(w.mm, BASE, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to),
      -EINVAL,
    ),
    [
      'fixed but not allowed to move',
      (w) => entry.mmMremap(w.mm, BASE, PAGE_SIZE, PAGE_SIZE, MREMAP_FIXED, w.addr(60)),
      -EINVAL,
    ],
    ['unknown flags', (w) => entry.mmMremap(w.mm, BASE, PAGE_SIZE, PAGE_SIZE, 8), -EINVAL],
    ['a hole', (w) => entry.mmMremap(w.mm, w.addr(HOLE), PAGE_SIZE, 2 * PAGE_SIZE, 1), -EFAULT],
    ['more than one mapping', (w) => entry.mmMremap(w.mm, BASE, 20 * PAGE_SIZE, 30 * PAGE_SIZE, 1), -EFAULT],
  ],
  mmMadvise: [
    ...each(
      'at',
      [...UNALIGNED, -PAGE_SIZE, ...BAD_NUMBERS],
      (w, a) => entry.mmMadvise(w.mm, a, PAGE_SIZE, MADV_DONTNEED),
      -EINVAL,
    ),
    ...each('length', [-1, ...BAD_NUMBERS], (w, n) => entry.mmMadvise(w.mm, BASE, n, MADV_DONTNEED), -EINVAL),
    ...each('advice', [5, -1, 1000, ...BAD_NUMBERS], (w, a) => entry.mmMadvise(w.mm, BASE, PAGE_SIZE, a), -EINVAL),
    ['a hole', (w) => entry.mmMadvise(w.mm, w.addr(HOLE), PAGE_SIZE, MADV_DONTNEED), -ENOMEM],
    ['beyond 2^47', (w) => entry.mmMadvise(w.mm, TASK_SIZE, PAGE_SIZE, MADV_DONTNEED), -ENOMEM],
  ],
  mmMlock: [
    ...each('at', [-PAGE_SIZE, NAN, ENDLESS], (w, a) => entry.mmMlock(w.mm, a, PAGE_SIZE), -EINVAL),
    ...each('length', [-2 * PAGE_SIZE, NAN, ENDLESS], (w, n) => entry.mmMlock(w.mm, BASE, n), -EINVAL),
    ['a hole', (w) => entry.mmMlock(w.mm, w.addr(HOLE), PAGE_SIZE), -ENOMEM],
  ],
  mmMunlock: [
    ...each('at', [-PAGE_SIZE, NAN, ENDLESS], (w, a) => entry.mmMunlock(w.mm, a, PAGE_SIZE), -EINVAL),
    ...each('length', [-2 * PAGE_SIZE, NAN, ENDLESS], (w, n) => entry.mmMunlock(w.mm, BASE, n), -EINVAL),
    ['a hole', (w) => entry.mmMunlock(w.mm, w.addr(HOLE), PAGE_SIZE), -ENOMEM],
  ],
  forkMm: [['a dead address space', (w) => entry.forkMm(w.dead), -EINVAL]],
  mmget: [['a dead address space', (w) => entry.mmget(w.dead), ASSERT]],
  mmgetNotZero: [['a dead address space', (w) => entry.mmgetNotZero(w.dead), false]],
  mmput: [['a dead address space', (w) => entry.mmput(w.dead), -ENODEV]],
  mmuIntervalNotifierInsert: [
    ...each(
      'length',
      [0, -1, ...BAD_NUMBERS, 2 ** 65],
      (w, n) => entry.mmuIntervalNotifierInsert(w.mm, BASE, n, OPS),
      -EOVERFLOW,
    ),
    ...each(
      'at',
      [-1, ...BAD_NUMBERS, 2 ** 64],
      (w, a) => entry.mmuIntervalNotifierInsert(w.mm, a, 4096, OPS),
      -EOVERFLOW,
    ),
    ['a dead address space', (w) => entry.mmuIntervalNotifierInsert(w.dead, BASE, 4096, OPS), -EINVAL],
  ],
  mmuIntervalNotifierRemove: [
    [
      'never inserted',
      (w) => entry.mmuIntervalNotifierRemove(new entry.MmuIntervalNotifier(w.child.mm, 0, 1, OPS)),
      -EINVAL,
    ],
    ['not inserted here', (w) => entry.mmuIntervalNotifierRemove(new entry.MmuIntervalNotifier(w.mm, 0, 1, OPS)), 0],
  ],
  hmmRangeFault: [
    ['a stale sequence', (w) => w.locked(() => entry.hmmRangeFault(w.range(EMPTY, 1, { notifierSeq: 1 }))), -EBUSY],
    ['nothing', (w) => w.locked(() => entry.hmmRangeFault(w.range(EMPTY, 0))), -EINVAL],
    ['end before start', (w) => w.locked(() => entry.hmmRangeFault(w.range(4, 1, { end: BASE }))), -EINVAL],
    ['a hole', (w) => w.locked(() => entry.hmmRangeFault(w.range(HOLE, 1))), -EFAULT],
    ['no access', (w) => w.locked(() => entry.hmmRangeFault(w.range(NO_ACCESS, 1))), -EFAULT],
    ['raw frames', (w) => w.locked(() => entry.hmmRangeFault(w.range(RAW, 1))), -EFAULT],
    [
      'beyond 2^47',
      (w) => w.locked(() => entry.hmmRangeFault(w.range(0, 1, { start: 2 ** 47, end: 2 ** 47 + 4096 }))),
      -EFAULT,
    ],
    [
      'write to a read-only mapping',
      (w) =>
        w.locked(() =>
          entry.hmmRangeFault(
            w.range(READ_ONLY, 1, { defaultFlags: entry.HMM_PFN_REQ_FAULT | entry.HMM_PFN_REQ_WRITE }),
          ),
        ),
      -EPERM,
    ],
    [
      'too few entries',
      (w) => w.locked(() => entry.hmmRangeFault(w.range(EMPTY, 1, { end: BASE + 5 * PAGE_SIZE }))),
      ASSERT,
    ],
    ...each('to', [NAN, ENDLESS], (w, end) => w.locked(() => entry.hmmRangeFault(w.range(EMPTY, 1, { end }))), ASSERT),
    ['from NaN', (w) => w.locked(() => entry.hmmRangeFault(w.range(EMPTY, 1, { start: NAN }))), ASSERT],
    ['without the lock', (w) => entry.hmmRangeFault(w.range(EMPTY, 1)), ASSERT],
  ],
  makeMigrateVma: [['endless', (w) => entry.makeMigrateVma(w.vma(0), BASE, ENDLESS, null, 1), RANGE]],
  migrateVmaSetup: [
    ['no mapping', (w) => setup(w, { vma: null }), -EINVAL],
    ['a mapping that is gone', (w) => setup(w, { vma: w.stale, start: w.stale.start, end: w.stale.end }), -EINVAL],
    ['raw frames', (w) => setup(w, { vma: w.vma(RAW), start: w.addr(RAW), end: w.addr(RAW + 1) }), -EINVAL],
    ['hugetlb', (w) => setup(w, { vma: w.vma(HUGE), start: w.addr(HUGE), end: w.addr(HUGE + 1) }), -EINVAL],
    ['nothing', (w) => setup(w, { end: BASE }), -EINVAL],
    ['less than a page', (w) => setup(w, { end: BASE + 4095 }), -EINVAL],
    ['end before start', (w) => setup(w, { start: w.addr(4), end: w.addr(2) }), -EINVAL],
    ['in front of the mapping', (w) => setup(w, { start: BASE - PAGE_SIZE }), -EINVAL],
    ['past its end', (w) => setup(w, { end: w.addr(9) }), -EINVAL],
    ...each('from', [NAN, ENDLESS], (w, start) => setup(w, { start }), -EINVAL),
    ...each('to', [NAN, ENDLESS], (w, end) => setup(w, { end }), -EINVAL),
    ['too short arrays', (w) => setup(w, { end: w.addr(4), src: new BigUint64Array(3) }), -EINVAL],
    ['a fault on a page that is no device page', (w) => setup(w, { faultPage: w.fixture.pfn(MEMORY) }), -EINVAL],
    [
      'without the lock',
      (w) => entry.migrateVmaSetup(entry.makeMigrateVma(w.vma(0), BASE, w.addr(1), null, 1)),
      ASSERT,
    ],
  ],
  migrateVmaPages: [
    ['without setup', (w) => entry.migrateVmaPages(entry.makeMigrateVma(null, BASE, w.addr(1), null, 1)), ASSERT],
  ],
  migrateVmaFinalize: [
    ['without setup', (w) => entry.migrateVmaFinalize(entry.makeMigrateVma(null, BASE, w.addr(1), null, 1)), ASSERT],
  ],
  migrateDeviceRange: [
    ['system memory', (w) => entry.migrateDeviceRange(w.sys, new BigUint64Array(1), w.fixture.pfn(MEMORY), 1), -EINVAL],
    ...each(
      'frame',
      [-1, NAN, 0.5, 2 ** 32],
      (w, pfn) => entry.migrateDeviceRange(w.sys, new BigUint64Array(1), pfn, 1),
      -EINVAL,
    ),
    ...each(
      'pages',
      [-1, ...BAD_NUMBERS, 5],
      (w, n) => entry.migrateDeviceRange(w.sys, new BigUint64Array(9), w.pagemap.pfn, n),
      -EINVAL,
    ),
    ['a short array', (w) => entry.migrateDeviceRange(w.sys, new BigUint64Array(1), w.pagemap.pfn, 2), -EINVAL],
  ],
  migratePage: [
    ['a free frame', (w) => entry.migratePage(w.sys, w.freePfn, () => -1), -EINVAL],
    ['a device page', (w) => entry.migratePage(w.sys, w.fixture.pfn(DEVICE), () => -1), -EINVAL],
    ...each('frame', [-1, NAN, 0.5, 2 ** 32], (w, pfn) => entry.migratePage(w.sys, pfn, () => -1), -EINVAL),
  ],
  movePages: [
    ...each(
      'at',
      [...UNALIGNED, -4096, ...BAD_NUMBERS],
      (w, a) => entry.movePages(w.mm, a, 1, new Int32Array(1)),
      -EINVAL,
    ),
    ...each('pages', [-1, ...BAD_NUMBERS, 2], (w, n) => entry.movePages(w.mm, BASE, n, new Int32Array(1)), -EINVAL),
  ],
  makeDeviceExclusiveRange: [
    ...each('from', [...UNALIGNED, NAN, -PAGE_SIZE, ENDLESS], (w, a) => exclusive(w, a, w.addr(1)), -EINVAL),
    ...each('to', [BASE + 1, NAN, BASE - PAGE_SIZE, ENDLESS], (w, a) => exclusive(w, BASE, a), -EINVAL),
    ['a hole', (w) => exclusive(w, w.addr(HOLE), w.addr(HOLE + 1)), -EFAULT],
    ['a read-only mapping', (w) => exclusive(w, w.addr(READ_ONLY), w.addr(READ_ONLY + 1)), -EFAULT],
    ['raw frames', (w) => exclusive(w, w.addr(RAW), w.addr(RAW + 1)), -EFAULT],
    ['without the lock', (w) => entry.makeDeviceExclusiveRange(w.mm, BASE, w.addr(1), [], w), ASSERT],
  ],
  pinUserPages: [
    ...each('at', [...UNALIGNED, NAN, ENDLESS, 0.5], (w, a) => entry.pinUserPages(w.mm, a, 1, WRITABLE, []), -EINVAL),
    ...each('pages', [0, -1, ...BAD_NUMBERS], (w, n) => entry.pinUserPages(w.mm, BASE, n, WRITABLE, []), -EINVAL),
    ['a hole', (w) => entry.pinUserPages(w.mm, w.addr(HOLE), 1, WRITABLE, []), -EFAULT],
    ['a read-only mapping', (w) => entry.pinUserPages(w.mm, w.addr(READ_ONLY), 1, WRITABLE, []), -EFAULT],
    ['beyond 2^47', (w) => entry.pinUserPages(w.mm, 2 ** 47, 1, WRITABLE, []), -EFAULT],
    ['below 0', (w) => entry.pinUserPages(w.mm, -PAGE_SIZE, 1, WRITABLE, []), -EFAULT],
    ['raw frames', (w) => entry.pinUserPages(w.mm, w.addr(RAW), 1, { write: false }, []), -EFAULT],
  ],
  unpinUserPage: [
    ['a free frame', (w) => entry.unpinUserPage(w.sys, w.freePfn), ASSERT],
    ['a page that is not pinned', (w) => entry.unpinUserPage(w.sys, w.fixture.pfn(MEMORY)), ASSERT],
    ['a huge page that is not pinned', (w) => entry.unpinUserPage(w.sys, hugePfn(w)), ASSERT],
    ...each('frame', [-1, NAN, 2 ** 32], (w, pfn) => entry.unpinUserPage(w.sys, pfn), ASSERT),
  ],
  unpinMigratedPage: [
    ['a page that is not pinned', (w) => entry.unpinMigratedPage(w.sys, w.fixture.pfn(MEMORY)), ASSERT],
  ],
  getPage: [
    ['a free frame', (w) => entry.getPage(w.sys, w.freePfn), ASSERT],
    ['a free device frame', (w) => entry.getPage(w.sys, w.pagemap.pfn), ASSERT],
    ...each('frame', [-1, NAN, 2 ** 32], (w, pfn) => entry.getPage(w.sys, pfn), ASSERT),
  ],
  putPage: [
    ['a free frame', (w) => entry.putPage(w.sys, w.freePfn), ASSERT],
    ['more than there are', (w) => entry.putPage(w.sys, w.fixture.pfn(MEMORY), 2), ASSERT],
    ...each('frame', [-1, NAN, 2 ** 32], (w, pfn) => entry.putPage(w.sys, pfn), ASSERT),
  ],
  unlockPage: [
    ['a free frame', (w) => entry.unlockPage(w.sys, w.freePfn), ASSERT],
    ['a page that is not locked', (w) => entry.unlockPage(w.sys, w.fixture.pfn(MEMORY)), ASSERT],
  ],
  zoneDevicePageInit: [
    ['system memory', (w) => entry.zoneDevicePageInit(w.sys, w.freePfn), ASSERT],
    ['a page in use', (w) => entry.zoneDevicePageInit(w.sys, w.fixture.pfn(DEVICE)), ASSERT],
    ...each('frame', [-1, NAN, 2 ** 32], (w, pfn) => entry.zoneDevicePageInit(w.sys, pfn), ASSERT),
  ],
  memremapPages: [
    ...each(
      'pages',
      [0, -1, ...BAD_NUMBERS],
      (w, npages) => entry.memremapPages(w.sys, { ...MEMORY_REQUEST, npages }),
      -EINVAL,
    ),
    ...each('type', [0, 6, NAN], (w, type) => entry.memremapPages(w.sys, { ...MEMORY_REQUEST, type }), -EINVAL),
    ['no owner', (w) => entry.memremapPages(w.sys, { ...MEMORY_REQUEST, owner: null }), -EINVAL],
    ['no callbacks', (w) => entry.memremapPages(w.sys, { ...MEMORY_REQUEST, ops: {} }), -EINVAL],
    ['too many pages', (w) => entry.memremapPages(w.sys, { ...MEMORY_REQUEST, npages: 2 ** 40 }), -ENOMEM],
  ],
  memunmapPages: [
    [
      'memory in use',
      (w) => entry.memunmapPages(w.sys, entry.pagemapOf(w.sys, w.fixture.pfn(DEVICE)) as entry.DevPagemap),
      -EBUSY,
    ],
    ['of another machine', (w) => entry.memunmapPages(w.other.sys, w.pagemap), -EINVAL],
  ],
  pagemapOf: each('frame', [-1, NAN, 2 ** 32, 0], (w, pfn) => entry.pagemapOf(w.sys, pfn), null),
  isZoneDevicePage: each('frame', [-1, NAN, 2 ** 32, 0], (w, pfn) => entry.isZoneDevicePage(w.sys, pfn), false),
  isDevicePrivatePage: each('frame', [-1, NAN, 2 ** 32, 0], (w, pfn) => entry.isDevicePrivatePage(w.sys, pfn), false),
  isDeviceCoherentPage: each('frame', [-1, NAN, 2 ** 32, 0], (w, pfn) => entry.isDeviceCoherentPage(w.sys, pfn), false),
  insertPage: [
    ...each(
      'at',
      [BASE + 1, BASE - 4096, NAN, ENDLESS],
      (w, a) => entry.insertPage(w.vma(0), a, w.fixture.pfn(FILE)),
      -EFAULT,
    ),
    ['a free frame', (w) => entry.insertPage(w.vma(0), w.addr(EMPTY), w.freePfn), -EINVAL],
    ['anonymous memory', (w) => entry.insertPage(w.vma(0), w.addr(EMPTY), w.fixture.pfn(MEMORY)), -EINVAL],
    ['where something is', (w) => entry.insertPage(w.vma(0), w.addr(MEMORY), w.fixture.pfn(FILE)), -EBUSY],
    ['into raw frames', (w) => entry.insertPage(w.vma(RAW), w.addr(RAW), w.fixture.pfn(FILE)), -EINVAL],
    ...each('frame', [-1, NAN, 2 ** 32], (w, pfn) => entry.insertPage(w.vma(0), w.addr(EMPTY), pfn), -EINVAL),
  ],
  insertPfnMixed: [
    ...each('at', [BASE + 1, BASE - 4096, NAN, ENDLESS], (w, a) => entry.insertPfnMixed(w.vma(0), a, 777), -EFAULT),
    ...each(
      'frame',
      [-1, ...BAD_NUMBERS, 2 ** 32],
      (w, pfn) => entry.insertPfnMixed(w.vma(0), w.addr(EMPTY), pfn),
      -EINVAL,
    ),
    ['where something is', (w) => entry.insertPfnMixed(w.vma(0), w.addr(MEMORY), 777), -EBUSY],
  ],
  remapPfnRange: [
    ...each('at', [BASE + 1, BASE - 4096, NAN, ENDLESS], (w, a) => entry.remapPfnRange(w.vma(0), a, 777, 1), -EINVAL),
    ...each('pages', [0, -1, ...BAD_NUMBERS, 9], (w, n) => entry.remapPfnRange(w.vma(0), BASE, 777, n), -EINVAL),
    ...each(
      'frame',
      [-1, ...BAD_NUMBERS, 2 ** 32 - 4],
      (w, pfn) => entry.remapPfnRange(w.vma(0), BASE, pfn, 8),
      -EINVAL,
    ),
    ['a part of a private mapping', (w) => entry.remapPfnRange(w.vma(0), w.addr(EMPTY), 777, 1), -EINVAL],
    ['where something is', (w) => entry.remapPfnRange(w.vma(0), BASE, 777, 8), -EBUSY],
  ],
  handleMmFault: each(
    'at',
    [BASE - 1, BASE + 8 * 4096, NAN, ENDLESS],
    (w, a) => entry.handleMmFault(w.vma(0), a, 0),
    entry.VM_FAULT_SIGSEGV,
  ),
  shareForRead: [
    ...each(
      'from',
      [BASE + 1, NAN, ENDLESS, -4096],
      (w, a) => w.locked(() => entry.shareForRead(w.mm, a, w.addr(2))),
      -EINVAL,
    ),
    ...each(
      'to',
      [BASE + 1, NAN, ENDLESS, BASE - 4096],
      (w, a) => w.locked(() => entry.shareForRead(w.mm, BASE, a)),
      -EINVAL,
    ),
  ],
  collectWrites: [
    ...each(
      'from',
      [BASE + 1, NAN, ENDLESS, -4096],
      (w, a) => w.locked(() => entry.collectWrites(w.mm, a, w.addr(2))),
      -EINVAL,
    ),
    ...each(
      'to',
      [BASE + 1, NAN, ENDLESS, BASE - 4096],
      (w, a) => w.locked(() => entry.collectWrites(w.mm, BASE, a)),
      -EINVAL,
    ),
  ],
  pageMkclean: [['not locked', (w) => entry.pageMkclean(w.sys, w.fixture.pfn(FILE)), ASSERT]],
  clearPageDirtyForIo: [['not locked', (w) => entry.clearPageDirtyForIo(w.sys, w.fixture.pfn(FILE)), ASSERT]],
  dumpPte: each('pages', BAD_NUMBERS, (w, n) => entry.dumpPte(w.mm, BASE, n), ASSERT),
  dumpAttr: each('pages', BAD_NUMBERS, (w, n) => entry.dumpAttr(w.mm, BASE, n), ASSERT),
  dumpPagemap: each('pages', BAD_NUMBERS, (w, n) => entry.dumpPagemap(w.mm, BASE, n), ASSERT),
  dumpSoftDirty: each('pages', BAD_NUMBERS, (w, n) => entry.dumpSoftDirty(w.mm, BASE, n), ASSERT),
  samePages: each('pages', BAD_NUMBERS, (w, n) => entry.samePages([w.mm], BASE, n), ASSERT),
  errnoName: [['no error', () => entry.errnoName(5000), ASSERT]],
}

const OPS: entry.MmuIntervalNotifierOps = { invalidate: () => true }

const MEMORY_REQUEST: entry.DevPagemapRequest = {
  type: entry.MEMORY_DEVICE_PRIVATE,
  npages: 1,
  owner: 'somebody',
  ops: { pageFree: () => {}, migrateToRam: () => 0 },
}

function setup(world: World, change: Partial<entry.MigrateVma>): number {
  const args = entry.makeMigrateVma(world.vma(0), BASE, world.addr(2), world, entry.MIGRATE_VMA_SELECT_SYSTEM)
  return world.locked(() => entry.migrateVmaSetup({ ...args, ...change }))
}

function exclusive(world: World, start: number, end: number): number {
  const found: number[] = []
  const ret = world.locked(() => entry.makeDeviceExclusiveRange(world.mm, start, end, found, world))
  expect(found).toEqual([])
  return ret
}

function hugePfn(world: World): number {
  return world.mm.pageTable.findPmd(world.addr(HUGE))?.hugePfn((HUGE / HPAGE_PMD_NR) % HPAGE_PMD_NR) ?? -1
}

// ---- what programs call ----

const BAD_TYPES = [NAN, 0.5, 'x' as unknown as number, null as unknown as number]
const OUT_OF_RANGE = [-1, ENDLESS, 2 ** 60]

/** A call with one argument that is no number at all, and one that no address or length can be. */
function wholes(what: string, call: (world: World, value: number) => unknown): Case[] {
  return [...each(what, BAD_TYPES, call, TYPE), ...each(what, OUT_OF_RANGE, call, RANGE)]
}

function ended(world: World): Process {
  const process = new Process(
    { adopt: (mm, name) => world.machine.adopt(mm, name), forget: () => {} },
    99,
    'ended',
    world.dead,
  )
  process.exit()
  return process
}

const PUBLIC: Record<string, readonly Case[]> = {
  Machine: [
    ...each('memory', [0, -1, ENDLESS], (_w, memory) => new entry.Machine({ memory }), RANGE),
    ['memory in words', () => new entry.Machine({ memory: 'much' as '1 MiB' }), TYPE],
    ['a mode of huge pages', () => new entry.Machine({ thp: 'often' as 'never' }), TYPE],
    ['half a hugetlb page', () => new entry.Machine({ hugetlbPages: 0.5 }), TYPE],
    ...each('hugetlb pages', [-1, ENDLESS], (_w, hugetlbPages) => new entry.Machine({ hugetlbPages }), RANGE),
    ...each('fault-around', [0, 3, 1024], (_w, faultAroundPages) => new entry.Machine({ faultAroundPages }), RANGE),
  ],
  'Machine.createFile': [
    ...wholes('pages', (w, npages) => w.machine.createFile('x', npages)),
    ['a name', (w) => w.machine.createFile(5 as unknown as string, 1), TYPE],
  ],
  'Process.mmap': [
    ...wholes('length', (w, length) => w.process.mmap({ length })),
    ...wholes('addr', (w, addr) => w.process.mmap({ length: 1, addr })),
    ...wholes('prot', (w, prot) => w.process.mmap({ length: 1, prot })),
    ...wholes('offset', (w, offset) => w.process.mmap({ length: 1, file: w.file, offset })),
    ['no length', (w) => w.process.mmap({ length: 0 }), mmError('EINVAL')],
    ['unaligned', (w) => w.process.mmap({ length: 1, addr: BASE + 1, fixed: true }), mmError('EINVAL')],
    ['beyond 2^47', (w) => w.process.mmap({ length: 1, addr: 2 ** 47, fixed: true }), mmError('ENOMEM')],
    ['an unaligned offset', (w) => w.process.mmap({ length: 1, file: w.file, offset: 1 }), mmError('EINVAL')],
    ['no file', (w) => w.process.mmap({ length: 1, file: {} as MemoryFile }), TYPE],
    ['a file that is gone', (w) => w.process.mmap({ length: 1, file: w.closed }), mmError('EBADF')],
    ['after the end', (w) => ended(w).mmap({ length: 1 }), mmError('ESRCH')],
  ],
  'Process.munmap': [
    ...wholes('addr', (w, addr) => w.process.munmap(addr, 4096)),
    ...wholes('length', (w, length) => w.process.munmap(BASE, length)),
    ['unaligned', (w) => w.process.munmap(BASE + 1, 4096), mmError('EINVAL')],
    ['no length', (w) => w.process.munmap(BASE, 0), mmError('EINVAL')],
    ['beyond 2^47', (w) => w.process.munmap(2 ** 47, 4096), mmError('EINVAL')],
  ],
  'Process.mprotect': [
    ...wholes('addr', (w, addr) => w.process.mprotect(addr, 4096, RW)),
    ...wholes('length', (w, length) => w.process.mprotect(BASE, length, RW)),
    ...wholes('prot', (w, prot) => w.process.mprotect(BASE, 4096, prot)),
    ['unaligned', (w) => w.process.mprotect(BASE + 1, 4096, RW), mmError('EINVAL')],
    ['unknown protection', (w) => w.process.mprotect(BASE, 4096, 64), mmError('EINVAL')],
    ['a hole', (w) => w.process.mprotect(w.addr(HOLE), 4096, RW), mmError('ENOMEM')],
  ],
  'Process.madvise': [
    ...wholes('addr', (w, addr) => w.process.madvise(addr, 4096, MADV_DONTNEED)),
    ...wholes('length', (w, length) => w.process.madvise(BASE, length, MADV_DONTNEED)),
    ...wholes('advice', (w, advice) => w.process.madvise(BASE, 4096, advice)),
    ['unknown advice', (w) => w.process.madvise(BASE, 4096, 77), mmError('EINVAL')],
    ['unaligned', (w) => w.process.madvise(BASE + 1, 4096, MADV_DONTNEED), mmError('EINVAL')],
    ['a hole', (w) => w.process.madvise(w.addr(HOLE), 4096, MADV_DONTNEED), mmError('ENOMEM')],
  ],
  'Process.mremap': [
    ...wholes('addr', (w, addr) => w.process.mremap(addr, 4096, 4096)),
    ...wholes('old length', (w, length) => w.process.mremap(BASE, length, 4096)),
    ...wholes('new length', (w, length) => w.process.mremap(BASE, 4096, length)),
    ...wholes('to', (w, to) => w.process.mremap(BASE, 4096, 4096, { to })),
    ['onto itself', (w) => w.process.mremap(BASE, 4096, 4096, { to: BASE }), mmError('EINVAL')],
    ['a hole', (w) => w.process.mremap(w.addr(HOLE), 4096, 8192), mmError('EFAULT')],
  ],
  'Process.mlock': [
    ...wholes('addr', (w, addr) => w.process.mlock(addr, 4096)),
    ...wholes('length', (w, length) => w.process.mlock(BASE, length)),
    ['a hole', (w) => w.process.mlock(w.addr(HOLE), 4096), mmError('ENOMEM')],
  ],
  'Process.munlock': [
    ...wholes('addr', (w, addr) => w.process.munlock(addr, 4096)),
    ...wholes('length', (w, length) => w.process.munlock(BASE, length)),
    ['a hole', (w) => w.process.munlock(w.addr(HOLE), 4096), mmError('ENOMEM')],
  ],
  'Process.movePages': [
    ...wholes('addr', (w, addr) => w.process.movePages(addr, 1)),
    ...wholes('pages', (w, npages) => w.process.movePages(BASE, npages)),
    ['unaligned', (w) => w.process.movePages(BASE + 1, 1), mmError('EINVAL')],
  ],
  'Process.clearSoftDirty': [['after the end', (w) => ended(w).clearSoftDirty(), mmError('ESRCH')]],
  'Process.fork': [['after the end', (w) => ended(w).fork(), mmError('ESRCH')]],
  'Process.exit': [['twice', (w) => ended(w).exit(), undefined]],
  'Process.pin': [
    ...wholes('addr', (w, addr) => w.process.pin(addr, 1, WRITABLE)),
    ...wholes('pages', (w, npages) => w.process.pin(BASE, npages, WRITABLE)),
    ['no pages', (w) => w.process.pin(BASE, 0, WRITABLE), RANGE],
    ['without options', (w) => w.process.pin(BASE, 1, undefined as unknown as typeof WRITABLE), TYPE],
    ['unaligned', (w) => w.process.pin(BASE + 1, 1, WRITABLE), mmError('EINVAL')],
    ['a hole', (w) => w.process.pin(w.addr(HOLE), 1, WRITABLE), mmError('EFAULT')],
  ],
  'Process.unpinAll': [['nothing', (w) => w.process.unpinAll(), undefined]],
  'Process.load32': [
    ...wholes('addr', (w, addr) => w.process.load32(addr)),
    ['a hole', (w) => w.process.load32(w.addr(HOLE)), SIGNAL],
    ['no access', (w) => w.process.load32(w.addr(NO_ACCESS)), SIGNAL],
    ['beyond 2^47', (w) => w.process.load32(2 ** 50), SIGNAL],
    ['after the end', (w) => ended(w).load32(BASE), SIGNAL],
  ],
  'Process.store32': [
    ...wholes('addr', (w, addr) => w.process.store32(addr, 1)),
    ['no number', (w) => w.process.store32(BASE, 'x' as unknown as number), TYPE],
    ['a read-only mapping', (w) => w.process.store32(w.addr(READ_ONLY), 1), SIGNAL],
    ['the end of a mapping', (w) => w.process.store32(w.addr(READ_ONLY + 1) - 2, 1), SIGNAL],
  ],
  'Process.readBytes': [
    ...wholes('addr', (w, addr) => w.process.readBytes(addr, 1)),
    ...wholes('bytes', (w, nbytes) => w.process.readBytes(BASE, nbytes)),
    ['a hole', (w) => w.process.readBytes(w.addr(HOLE), 1), SIGNAL],
    ['too many', (w) => w.process.readBytes(BASE, 2 ** 50), RANGE],
  ],
  'Process.writeBytes': [
    ...wholes('addr', (w, addr) => w.process.writeBytes(addr, new Uint8Array(1))),
    ['no bytes', (w) => w.process.writeBytes(BASE, 'abc' as unknown as Uint8Array), TYPE],
    ['a read-only mapping', (w) => w.process.writeBytes(w.addr(READ_ONLY), new Uint8Array(1)), SIGNAL],
  ],
  'Process.tryLoad32': each(
    'at',
    [NAN, -1, ENDLESS, 2 ** 60],
    (w, addr) => w.process.tryLoad32(addr),
    entry.ACCESS_SEGV,
  ),
  'Process.tryStore32': each(
    'at',
    [NAN, -1, ENDLESS, 2 ** 60],
    (w, addr) => w.process.tryStore32(addr, 1),
    entry.ACCESS_SEGV,
  ),
  'Process.dumpPte': wholes('pages', (w, npages) => w.process.dumpPte(BASE, npages)),
  'Process.dumpAttr': wholes('pages', (w, npages) => w.process.dumpAttr(BASE, npages)),
  'Process.dumpPagemap': wholes('pages', (w, npages) => w.process.dumpPagemap(BASE, npages)),
  'Process.dumpSoftDirty': wholes('pages', (w, npages) => w.process.dumpSoftDirty(BASE, npages)),
  'MemoryFile.getPage': [
    ...wholes('page', (w, pgoff) => w.file.getPage(pgoff)),
    ['beyond the end', (w) => w.file.getPage(4), mmError('EINVAL')],
    ['of a file that is gone', (w) => w.closed.getPage(0), mmError('EBADF')],
  ],
  'MemoryFile.writePage': [
    ...wholes('page', (w, pgoff) => w.file.writePage(pgoff, new Uint8Array(1))),
    ...wholes('offset', (w, offset) => w.file.writePage(0, new Uint8Array(1), offset)),
    ['no bytes', (w) => w.file.writePage(0, [1] as unknown as Uint8Array), TYPE],
    ['beyond the page', (w) => w.file.writePage(0, new Uint8Array(2), 4095), mmError('EINVAL')],
    ['beyond the end', (w) => w.file.writePage(4, new Uint8Array(1)), mmError('EINVAL')],
    ['of a file that is gone', (w) => w.closed.writePage(0, new Uint8Array(1)), mmError('EBADF')],
  ],
  'MemoryFile.truncate': [
    ...wholes('pages', (w, npages) => w.file.truncate(npages)),
    ['of a file that is gone', (w) => w.closed.truncate(1), mmError('EBADF')],
  ],
  'MemoryFile.punchHole': [
    ...wholes('page', (w, pgoff) => w.file.punchHole(pgoff, 1)),
    ...wholes('pages', (w, npages) => w.file.punchHole(0, npages)),
    ['nothing', (w) => w.file.punchHole(0, 0), mmError('EINVAL')],
    ['of a file that is gone', (w) => w.closed.punchHole(0, 1), mmError('EBADF')],
  ],
  'MemoryFile.close': [['twice', (w) => w.closed.close(), undefined]],
  DmirrorDevice: [
    ...each('number', [-1, 4, ...BAD_NUMBERS], (w, number) => new DmirrorDevice(w.sys, number), RANGE),
    ...each(
      'chunks of',
      [0, -1, ...BAD_NUMBERS],
      (w, chunkPages) => new DmirrorDevice(w.sys, 1, { chunkPages }),
      RANGE,
    ),
    ...each('chunks', [0, -1, NAN], (w, chunksMax) => new DmirrorDevice(w.sys, 1, { chunksMax }), RANGE),
    ['more than can be numbered', (w) => new DmirrorDevice(w.sys, 1, { chunkPages: 2 ** 40 }), mmError('ENOMEM')],
    ['a kind', (w) => new DmirrorDevice(w.sys, 1, { kind: 'public' as 'private' }), TYPE],
  ],
  'DmirrorDevice.open': [
    ['a dead address space', (w) => w.fixture.device(0).open(w.dead), -EINVAL],
    ['of another machine', (w) => w.fixture.device(0).open(w.other.mm), -EINVAL],
  ],
}

/** The commands of the test driver answer with the kernel's error number, as an ioctl does. */
const COMMANDS: Record<
  string,
  (handle: DmirrorHandle, addr: number, npages: number, buffer: Uint8Array) => DmirrorResult
> = {
  read: (handle, ...args) => handle.read(...args),
  write: (handle, ...args) => handle.write(...args),
  migrateToDev: (handle, ...args) => handle.migrateToDev(...args),
  migrateToSys: (handle, addr, npages) => handle.migrateToSys(addr, npages),
  snapshot: (handle, ...args) => handle.snapshot(...args),
  exclusive: (handle, ...args) => handle.exclusive(...args),
  checkExclusive: (handle, addr, npages) => handle.checkExclusive(addr, npages),
  release: (handle, addr, npages) => handle.release(addr, npages),
}
for (const [name, command] of Object.entries(COMMANDS)) {
  const buffer = new Uint8Array(4 * PAGE_SIZE)
  const failed = (ret: number) => ({ ret, cpages: 0, faults: 0 })
  PUBLIC[`DmirrorHandle.${name}`] = [
    ...each(
      'at',
      [...UNALIGNED, -4096, ...BAD_NUMBERS],
      (w, addr) => command(w.handle, addr, 1, buffer),
      failed(-EINVAL),
    ),
    ...each('pages', [0, -1, 2 ** 60, ...BAD_NUMBERS], (w, n) => command(w.handle, BASE, n, buffer), failed(-EINVAL)),
    ['on a handle that is closed', (w) => command(w.closedHandle, BASE, 1, buffer), failed(-EINVAL)],
  ]
}
PUBLIC['DmirrorHandle.ioctl'] = [
  ...each('command', [-1, 99, NAN], (w, command) => w.handle.ioctl(command, BASE, 1, null).ret, -EINVAL),
  ['no bytes to write to', (w) => w.handle.write(BASE, 1, null).ret, -EFAULT],
  ['too few bytes', (w) => w.handle.write(BASE, 2, new Uint8Array(PAGE_SIZE)).ret, -EFAULT],
  ['an array that is none of bytes', (w) => w.handle.read(BASE, 1, [] as unknown as Uint8Array), TYPE],
  ['a hole', (w) => w.handle.read(w.addr(HOLE), 1, new Uint8Array(PAGE_SIZE)).ret, -EFAULT],
  ['a read-only mapping', (w) => w.handle.write(w.addr(READ_ONLY), 1, new Uint8Array(PAGE_SIZE)).ret, -EPERM],
  ['beyond 2^47', (w) => w.handle.read(2 ** 47, 1, new Uint8Array(PAGE_SIZE)).ret, -EFAULT],
]
PUBLIC['DmirrorHandle.close'] = [['twice', (w) => w.closedHandle.close(), 0]]

// ---- the older designs ----

const { hmm2015, hmmV51 } = entry

function vmaRange(world: World, page: number, npages: number, vma?: Vma): entry.hmmV51.HmmVmaRange {
  return new hmmV51.HmmVmaRange({
    start: world.addr(page),
    end: world.addr(page + npages),
    pfns: new BigUint64Array(npages),
    flags: [1n, 2n],
    values: [4n, 0n, 8n],
    pfnShift: 12,
    ...(vma === undefined ? {} : { vma }),
  })
}

/** Faults of a mirror of the world's process, which exists for the call alone. */
function mirrorFault(world: World, start: number, end: number, etype: number): number {
  const device = new hmm2015.HmmDevice({ name: 'gpu', ops: { update: () => 0, release: () => {} } })
  hmm2015.hmmDeviceRegister(device)
  const mirror = hmm2015.hmmMirrorRegister(device, world.mm)
  if (typeof mirror === 'number') throw new Error(`hmmMirrorRegister returned ${mirror}`)
  const ret = hmm2015.hmmMirrorFault(mirror, new hmm2015.HmmEvent(start, end, etype))
  hmm2015.hmmMirrorUnregister(mirror)
  return ret
}

const { HMM_DEVICE_RFAULT: R, HMM_DEVICE_WFAULT: W, HMM_MUNMAP } = hmm2015

const OLDER: Record<string, readonly Case[]> = {
  'hmmV51.hmmRangeRegister': [
    ...each(
      'from',
      [BASE + 1, ...BAD_NUMBERS],
      (w, a) => hmmV51.hmmRangeRegister(vmaRange(w, 0, 1), w.mm, a, w.addr(1)),
      -EINVAL,
    ),
    ...each(
      'to',
      [BASE + 1, BASE, 0, ...BAD_NUMBERS],
      (w, a) => hmmV51.hmmRangeRegister(vmaRange(w, 0, 1), w.mm, BASE, a),
      -EINVAL,
    ),
    ['a dead address space', (w) => hmmV51.hmmRangeRegister(vmaRange(w, 0, 1), w.dead, BASE, w.addr(1)), -EFAULT],
  ],
  'hmmV51.hmmVmaGetPfns': [
    ['no mapping', (w) => hmmV51.hmmVmaGetPfns(vmaRange(w, 0, 1)), -EINVAL],
    ['past the mapping', (w) => hmmV51.hmmVmaGetPfns(vmaRange(w, 0, 9, w.vma(0))), -EINVAL],
    ['without a mirror', (w) => hmmV51.hmmVmaGetPfns(vmaRange(w, 0, 1, w.vma(0))), -EINVAL],
  ],
  'hmmV51.hmmVmaFault': [['no mapping', (w) => hmmV51.hmmVmaFault(vmaRange(w, 0, 1)), ASSERT]],
  'hmmV51.hmmRangeSnapshot': [['not registered', (w) => hmmV51.hmmRangeSnapshot(vmaRange(w, 0, 1)), ASSERT]],
  'hmm2015.hmmDeviceUnregister': [
    [
      'not registered',
      () =>
        hmm2015.hmmDeviceUnregister(new hmm2015.HmmDevice({ name: 'x', ops: { update: () => 0, release: () => {} } })),
      -ENODEV,
    ],
  ],
  'hmm2015.hmmMirrorRegister': [
    [
      'a device that is not registered',
      (w) =>
        hmm2015.hmmMirrorRegister(
          new hmm2015.HmmDevice({ name: 'x', ops: { update: () => 0, release: () => {} } }),
          w.mm,
        ),
      -ENODEV,
    ],
    [
      'a dead address space',
      (w) => {
        const device = new hmm2015.HmmDevice({ name: 'x', ops: { update: () => 0, release: () => {} } })
        hmm2015.hmmDeviceRegister(device)
        return hmm2015.hmmMirrorRegister(device, w.dead)
      },
      -EINVAL,
    ],
  ],
  'hmm2015.hmmMirrorFault': [
    ...each('from', [NAN, -PAGE_SIZE, ENDLESS, TASK_SIZE], (w, a) => mirrorFault(w, a, w.addr(1), R), -EINVAL),
    ...each('to', [NAN, BASE, 0], (w, a) => mirrorFault(w, BASE, a, R), -EINVAL),
    ...each('type', [HMM_MUNMAP, 0, -1, 99, NAN], (w, etype) => mirrorFault(w, BASE, w.addr(1), etype), -EINVAL),
    ['a hole', (w) => mirrorFault(w, w.addr(HOLE), w.addr(HOLE + 1), R), -EFAULT],
    ['raw frames', (w) => mirrorFault(w, w.addr(RAW), w.addr(RAW + 1), R), -EFAULT],
    ['a write to a read-only mapping', (w) => mirrorFault(w, w.addr(READ_ONLY), w.addr(READ_ONLY + 1), W), -EACCES],
  ],
  'hmm2015.hmmEventInit': [
    ...each(
      'from',
      [NAN, -1, ENDLESS],
      (_w, a) => hmm2015.hmmEventInit(new hmm2015.HmmEvent(), TASK_SIZE, a, 4096, R),
      -EINVAL,
    ),
    ...each(
      'type',
      [0, -1, 99, NAN],
      (_w, t) => hmm2015.hmmEventInit(new hmm2015.HmmEvent(), TASK_SIZE, 0, 1, t),
      -EINVAL,
    ),
  ],
  'hmm2015.hmmCollectDirty': each('to', [NAN, BASE, 0], (w, a) => hmm2015.hmmCollectDirty(w.mm, BASE, a), -EINVAL),
}

describe('bad input to the core is refused with the error number of the kernel', () => {
  for (const [name, cases] of Object.entries(CORE)) {
    it(`${name}()`, () => {
      const world = new World()
      for (const one of cases) run(world, one)
    })
  }
})

describe('bad input to what programs call throws an error with a name', () => {
  for (const [name, cases] of Object.entries(PUBLIC)) {
    it(name, () => {
      const world = new World()
      for (const one of cases) run(world, one)
    })
  }
})

/** What is exported and takes nothing that could be bad, or has no state to change. */
const EXEMPT: Record<string, readonly string[]> = {
  'arithmetic and text': [
    ...['addrToVpn', 'formatAddr', 'formatMaps', 'isPageAligned', 'isPmdAligned', 'isPudAligned', 'nbytesToPages'],
    ...['pageAlignDown', 'pageAlignUp', 'pageOffset', 'pfnToPhys', 'physToPfn', 'vpnToAddr', 'accessOutcome'],
    ...['pgdAddrEnd', 'pgdAlignDown', 'pgdAlignUp', 'pgdIndex', 'pmdAddrEnd', 'pmdAlignDown', 'pmdAlignUp', 'pmdIndex'],
    ...[
      'pteIndex',
      'pudAddrEnd',
      'pudAlignDown',
      'pudAlignUp',
      'pudIndex',
      'isCowMapping',
      'vmFaultToErrno',
      'hasErrnoName',
    ],
    ...['madviseNeedsWrite', 'mmuNotifierRangeUpdateToReadOnly', 'mmHasNotifiers'],
  ],
  'encodings (hmm-pfn.test.ts, migrate-pfn.test.ts)': [
    ...[
      'hmmDeviceEntryFromPfn',
      'hmmDeviceEntryToPage',
      'hmmFlagsHi',
      'hmmPfnAt',
      'hmmPfnHiToMapOrder',
      'hmmPfnIsError',
    ],
    ...['hmmPfnOrderHi', 'hmmPfnToMapOrder', 'hmmPfnToPfn', 'hmmPfnToPhys', 'hmmPfnValid', 'hmmPfnWords', 'makeHmmPfn'],
    ...[
      'hmmPfnWordsToPfn',
      'hmmPfnWritable',
      'migratePfn',
      'migratePfnAt',
      'migratePfnRun',
      'migratePfnRuns',
      'migratePfnToPfn',
      'migratePfnWords',
      'validPfnAt',
      'setMigratePfn',
      'setMigratePfns',
    ],
  ],
  'errors themselves, and checks': [
    ...['AssertionError', 'MmError', 'AccessSignal', 'WouldWait', 'throwOnError', 'badFrame'],
    ...['validateMigrateVma', 'validateMm', 'validateSystem'],
  ],
  'made by others, or plain state': [
    ...['Chunk', 'Compound', 'DevPagemap', 'DeviceMemory', 'DmirrorHandle', 'MemoryFile', 'MirrorTable', 'Mm', 'Pages'],
    ...['MmuIntervalNotifier', 'MmuNotifierRange', 'Process', 'ShmemFile', 'SimulatedMmu', 'Subscriptions', 'System'],
    ...['VmFault', 'Vma', 'WaitQueue'],
  ],
  'an address space or a page that is there, and nothing else': [
    ...[
      'allocEvictionPage',
      'allocEvictionTarget',
      'allocKernelPage',
      'allocPage',
      'clearSoftDirty',
      'oomReapMm',
      'waitForPage',
      'whenReady',
      'mlockPopulate',
    ],
    ...['mmuIntervalCheckRetry', 'mmuIntervalReadBegin', 'mmuIntervalReadRetry', 'mmuIntervalSetSeq'],
    ...[
      'mmuNotifierInvalidateRangeEnd',
      'mmuNotifierInvalidateRangeStart',
      'migrateDeviceFinalize',
      'migrateDevicePages',
    ],
  ],
}

describe('bad input to the older designs', () => {
  for (const [name, cases] of Object.entries(OLDER)) {
    it(name, () => {
      const world = new World()
      for (const one of cases) run(world, one)
    })
  }
})

describe('the list', () => {
  it('names every function of hetmem/hmm', () => {
    const exported = Object.entries(entry).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))
    const known = new Set([...Object.keys(CORE), ...Object.keys(PUBLIC), ...Object.values(EXEMPT).flat()])
    expect(exported.filter((name) => !known.has(name))).toEqual([])
    expect([...known].filter((name) => !name.includes('.') && !exported.includes(name))).toEqual([])
  })

  it('names every method of what programs call', () => {
    const shows = new Set(['maps', 'createProcess', 'adopt', 'forget', 'mmap', 'unmapped', 'evictAll', 'release'])
    for (const type of [Machine, Process, MemoryFile, DmirrorDevice, DmirrorHandle]) {
      const methods = Object.getOwnPropertyNames(type.prototype).filter((name) => {
        const { value } = Object.getOwnPropertyDescriptor(type.prototype, name) as PropertyDescriptor
        return name !== 'constructor' && typeof value === 'function' && !PRIVATE.has(`${type.name}.${name}`)
      })
      const missing = methods.filter((name) => !shows.has(name) && PUBLIC[`${type.name}.${name}`] === undefined)
      expect(missing).toEqual([])
    }
  })
})

/** Methods that TypeScript keeps private. */
const PRIVATE = new Set([
  ...['evict', 'migrateToRam'].map((name) => `DmirrorDevice.${name}`),
  ...['run', 'runRead', 'runWrite', 'runSnapshot', 'readThroughTable', 'copyFromTable', 'copyThroughTable'].map(
    (name) => `DmirrorHandle.${name}`,
  ),
])
