// The kernel's own HMM test program (tools/testing/selftests/vm/hmm-tests.c of Linux 6.1) as scenarios on the simulated
// machine: spec TS-1 to TS-29, under the kernel's names, with its sizes, 29 tests in a private and a coherent variant. They
// run with transparent huge pages off (A), on request (B) and always (C), and end as they ended on Linux: the outcomes are
// read from the recording. All pass but, in C, the six that ask for exclusive access: they fail with EBUSY, because of a
// huge page only the first small page can be had.
//
// "Buffer" is 4 MiB of private anonymous memory, "mirror" what the device copied.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, PMD_SIZE, pmdAlignUp } from '../../src/base/addr.ts'
import { EBUSY, EFAULT } from '../../src/base/errno.ts'
import type { DmirrorHandle, DmirrorKind } from '../../src/devices/dmirror/index.ts'
import { FOLL_WRITE, getUserPagesRemote, pinUserPages, unpinUserPage } from '../../src/mm/gup.ts'
import { putPage } from '../../src/mm/page-alloc.ts'
import { MADV_HUGEPAGE, PROT_NONE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'
import { bytesOf, CommandFailed, DmirrorFixture, expectWords, pattern, wordsOf } from '../helpers/dmirror-fixture.ts'

const RW = PROT_READ | PROT_WRITE
/** Pages of a buffer: 4 MiB. */
const NPAGES = 1024
const NWORDS = (NPAGES * PAGE_SIZE) / 4
/** What the kernel's tests repeat, they repeat so often. */
const NTIMES = 10

const PATTERN = pattern(NPAGES)
const NEGATED = pattern(NPAGES, (i) => ~i)
const INCREMENTED = pattern(NPAGES, (i) => i + 1)

/** One test with one device, or for the names of hmm2 with two of a kind. */
interface Context {
  readonly f: DmirrorFixture
  readonly kind: DmirrorKind
  readonly handle: DmirrorHandle
  /** The second device of hmm2. */
  readonly handle1: DmirrorHandle
  /** Opens the first device for another process, or again. */
  open(process?: DmirrorFixture['process']): DmirrorHandle
  /** Runs at every point at which another thread could come in while a device fault is on its way. */
  interleave: () => void
}

type Scenario = (context: Context) => void

const HMM: Record<string, Scenario> = {
  open_close({ f, open }) {
    f.close(open())
  },

  anon_read({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    const words = pattern(NPAGES)
    f.store(buffer + 2 * PAGE_SIZE, words.subarray(2048))
    f.mprotect(buffer, NPAGES, PROT_READ)
    expect(f.load(buffer + PAGE_SIZE, 1)[0]).toBe(0) // page 1 is the zero page, page 0 stays empty
    const read = f.read(handle, buffer, NPAGES)
    expect(read).toMatchObject({ cpages: NPAGES, faults: 1 })
    words.fill(0, 0, 2048)
    expectWords(read.buffer, words)
  },

  anon_read_prot({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    f.store(buffer, PATTERN)
    f.mprotect(buffer, NPAGES, PROT_NONE)
    const mirror = bytesOf(NEGATED.slice())
    expect(f.errnoOf(() => handle.read(buffer, NPAGES, mirror))).toBe('EFAULT')
    f.mprotect(buffer, NPAGES, PROT_READ)
    expectWords(f.load(buffer, NWORDS), PATTERN)
    expectWords(mirror, NEGATED)
  },

  anon_write({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    expect(f.write(handle, buffer, NPAGES, bytesOf(PATTERN))).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(f.load(buffer, NWORDS), PATTERN)
  },

  anon_write_prot({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES, prot: PROT_READ })
    expect(f.read(handle, buffer, 1)).toMatchObject({ cpages: 1, faults: 1 })
    expect(f.errnoOf(() => handle.write(buffer, NPAGES, bytesOf(PATTERN)))).toBe('EPERM')
    expectWords(f.load(buffer, NWORDS), new Uint32Array(NWORDS))
    f.mprotect(buffer, NPAGES, RW)
    expect(f.write(handle, buffer, NPAGES, bytesOf(PATTERN))).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(f.load(buffer, NWORDS), PATTERN)
  },

  anon_write_child({ f, open }) {
    const buffer = f.mmap({ npages: NPAGES })
    f.store(buffer, PATTERN)
    const child = f.fork()
    expectWords(f.load(buffer, NWORDS, child), PATTERN)
    const inChild = open(child)
    expect(f.write(inChild, buffer, NPAGES, bytesOf(NEGATED))).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(f.load(buffer, NWORDS, child), NEGATED)
    f.exit(child)
    expectWords(f.load(buffer, NWORDS), PATTERN)
  },

  anon_write_child_shared({ f, open }) {
    const buffer = f.mmap({ npages: NPAGES, shared: true })
    f.store(buffer, PATTERN)
    const child = f.fork()
    expectWords(f.load(buffer, NWORDS, child), PATTERN)
    const inChild = open(child)
    expect(f.write(inChild, buffer, NPAGES, bytesOf(NEGATED))).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(f.load(buffer, NWORDS, child), NEGATED)
    f.exit(child)
    expectWords(f.load(buffer, NWORDS), NEGATED)
  },

  anon_write_huge({ f, handle }) {
    const buffer = pmdAlignUp(f.mmap({ npages: NPAGES }))
    f.step(() => f.process.madvise(buffer, PMD_SIZE, MADV_HUGEPAGE))
    const words = pattern(512)
    expect(f.write(handle, buffer, 512, bytesOf(words))).toMatchObject({ cpages: 512, faults: 1 })
    expectWords(f.load(buffer, words.length), words)
  },

  anon_write_hugetlbfs({ f, handle }) {
    const buffer = f.mmap({ npages: 512, hugetlb: true })
    const words = pattern(512)
    expect(f.write(handle, buffer, 512, bytesOf(words))).toMatchObject({ cpages: 512, faults: 1 })
    expectWords(f.load(buffer, words.length), words)
  },

  file_read({ f, handle }) {
    const file = f.createFile(NPAGES)
    const bytes = bytesOf(PATTERN)
    for (let i = 0; i < NPAGES; i++) {
      expect(file.writePage(i, bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE))).toBe(0)
    }
    const buffer = f.mmap({ npages: NPAGES, prot: PROT_READ, shared: true, file })
    const read = f.read(handle, buffer, NPAGES)
    expect(read).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(read.buffer, PATTERN)
  },

  file_write({ f, handle }) {
    const file = f.createFile(NPAGES)
    const buffer = f.mmap({ npages: NPAGES, shared: true, file })
    expect(f.write(handle, buffer, NPAGES, bytesOf(PATTERN))).toMatchObject({ cpages: NPAGES, faults: 1 })
    expectWords(f.load(buffer, NWORDS), PATTERN)
    expectWords(f.fileWords(file), PATTERN)
  },

  migrate({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    f.store(buffer, PATTERN)
    migrateAllToDev(f, handle, buffer, PATTERN)
  },

  migrate_file_private({ f, handle }) {
    const file = f.createFile(NPAGES)
    const buffer = f.mmap({ npages: NPAGES, file })
    f.store(buffer, PATTERN)
    migrateAllToDev(f, handle, buffer, PATTERN)
  },

  migrate_fault({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    f.store(buffer, PATTERN)
    migrateAllToDev(f, handle, buffer, PATTERN)
    expectWords(f.load(buffer, NWORDS / 2), PATTERN.subarray(0, NWORDS / 2))
    migrateAllToDev(f, handle, buffer, PATTERN)
  },

  migrate_release({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES })
    f.store(buffer, PATTERN)
    migrateAllToDev(f, handle, buffer, PATTERN)
    f.release(handle, buffer, NPAGES)
    expectWords(f.load(buffer, NWORDS / 2), PATTERN.subarray(0, NWORDS / 2))
  },

  migrate_shared({ f, handle }) {
    const buffer = f.mmap({ npages: NPAGES, shared: true })
    const mirror = new Uint8Array(NPAGES * PAGE_SIZE)
    expect(f.errnoOf(() => handle.migrateToDev(buffer, NPAGES, mirror))).toBe('ENOENT')
  },

  migrate_multiple({ f, handle, kind }) {
    for (let c = 0; c < NTIMES; c++) {
      const buffer = f.mmap({ npages: NPAGES })
      f.store(buffer, PATTERN)
      migrateAllToDev(f, handle, buffer, PATTERN)
      if (kind === 'coherent') expect(f.migrateToSys(handle, buffer, NPAGES).cpages).toBe(NPAGES)
      expectWords(f.load(buffer, NWORDS), PATTERN)
      f.munmap(buffer, NPAGES)
    }
  },

  anon_read_multiple({ f, handle }) {
    for (let c = 0; c < NTIMES; c++) {
      const buffer = f.mmap({ npages: NPAGES })
      const words = pattern(NPAGES, (i) => i + c)
      f.store(buffer, words)
      const read = f.read(handle, buffer, NPAGES)
      expect(read).toMatchObject({ cpages: NPAGES, faults: 1 })
      expectWords(read.buffer, words)
      f.munmap(buffer, NPAGES)
    }
  },

  // On Linux a second thread unmaps the second half after a random time. Here it does so at a chosen point between two
  // steps of the device fault: before it, in the middle, near its end, and after it.
  anon_teardown(context) {
    const { f, handle } = context
    const outcomes: string[] = []
    for (let c = 0; c < NTIMES; c++) {
      const buffer = f.mmap({ npages: NPAGES })
      const words = pattern(NPAGES, (i) => i + c)
      f.store(buffer, words)
      let countdown = 4 * c
      const unmapHalf = (): void => f.munmap(buffer + (NPAGES / 2) * PAGE_SIZE, NPAGES / 2)
      context.interleave = () => {
        if (countdown-- === 0) unmapHalf()
      }
      const mirror = new Uint8Array(NPAGES * PAGE_SIZE)
      const { ret, cpages, faults } = f.step(() => handle.read(buffer, NPAGES, mirror))
      context.interleave = () => {}
      outcomes.push(ret === 0 ? 'ok' : ret === -EFAULT ? 'EFAULT' : `${ret}`)
      if (ret === 0) {
        expect([cpages, faults]).toEqual([NPAGES, 1])
        expectWords(mirror, words)
        unmapHalf()
      }
      f.munmap(buffer, NPAGES / 2)
    }
    // 16 batches look at the clock twice each at least, so the last unmapping comes too late to be noticed.
    expect(outcomes[0]).toBe('EFAULT')
    expect(outcomes[NTIMES - 1]).toBe('ok')
  },

  mixedmap({ f, handle, kind }) {
    const file = f.devices[kind === 'private' ? 0 : 2].file
    const buffer = f.mmap({ npages: 1, file })
    expect(f.snapshot(handle, buffer, 1)).toBe('01')
  },

  compound({ f, handle }) {
    const buffer = f.mmap({ npages: 512, hugetlb: true })
    f.store(buffer, pattern(512))
    expect(f.snapshot(handle, buffer, 512)).toBe(Array(512).fill('06').join(' '))
    f.mprotect(buffer, 512, PROT_READ)
    expect(f.snapshot(handle, buffer, 512)).toBe(Array(512).fill('05').join(' '))
  },

  exclusive({ f, handle }) {
    const buffer = makeExclusiveBuffer(f, handle)
    incrementAll(f, buffer, f.process)
    f.checkExclusive(handle, buffer, NPAGES)
  },

  exclusive_mprotect({ f, handle }) {
    const buffer = makeExclusiveBuffer(f, handle)
    f.mprotect(buffer, NPAGES, PROT_READ)
    expect(f.errnoOf(() => handle.write(buffer, NPAGES, bytesOf(PATTERN)))).toBe('EPERM')
  },

  exclusive_cow({ f, handle }) {
    const buffer = makeExclusiveBuffer(f, handle)
    const child = f.fork()
    incrementAll(f, buffer, f.process)
    incrementAll(f, buffer, child)
    f.exit(child)
  },

  hmm_gup_test({ f, handle, kind }) {
    const buffer = f.mmap({ npages: 4 })
    const words = pattern(4)
    f.store(buffer, words)
    expectWords(f.migrateToDev(handle, buffer, 4).buffer, words)
    gupAndRelease(f, buffer, { longterm: false })
    gupAndRelease(f, buffer + PAGE_SIZE, { longterm: false })
    gupAndRelease(f, buffer + 2 * PAGE_SIZE, { longterm: true })
    gupAndRelease(f, buffer + 3 * PAGE_SIZE, { longterm: true })
    // Private memory cannot be handed out at all, coherent memory not for long.
    expect(f.snapshot(handle, buffer, 4)).toBe(kind === 'private' ? '02 02 02 02' : '42 42 02 02')
    expectWords(f.load(buffer, words.length), words)
  },

  hmm_cow_in_device({ f, handle }) {
    const buffer = f.mmap({ npages: 4 })
    const words = pattern(4)
    f.store(buffer, words)
    expectWords(f.migrateToDev(handle, buffer, 4).buffer, words)
    const child = f.fork()
    f.store(buffer, words)
    f.exit(child)
    expect(f.snapshot(handle, buffer, 4)).toBe('02 02 02 02')
  },
}

const HMM2: Record<string, Scenario> = {
  migrate_mixed({ f, handle, handle1 }) {
    const buffer = f.mmap({ npages: 6, prot: PROT_NONE })
    const page = (i: number): Addr => buffer + i * PAGE_SIZE
    const mirror = new Uint8Array(6 * PAGE_SIZE)
    expect(f.errnoOf(() => handle1.migrateToDev(buffer, 6, mirror))).toBe('EINVAL')
    f.munmap(page(1), 1)
    expect(f.errnoOf(() => handle1.migrateToDev(buffer, 3, mirror))).toBe('EINVAL')
    makeZeroPage(f, page(2))
    makeWrittenReadOnly(f, page(3))
    f.mprotect(page(4), 2, RW)
    f.store(page(4), new Uint32Array([4]))
    f.store(page(5), new Uint32Array([5]))
    const migrated = f.migrateToDev(handle1, page(2), 4)
    expect(migrated.cpages).toBe(4)
    expect([0, 1, 2, 3].map((i) => wordsOf(migrated.buffer)[i * 1024])).toEqual([0, 3, 4, 5])
    expect(f.errnoOf(() => handle.migrateToDev(page(5), 1, mirror))).toBe('ENOENT') // it is on the other device
  },

  snapshot({ f, handle, handle1, kind }) {
    const buffer = f.mmap({ npages: 7, prot: PROT_NONE })
    const page = (i: number): Addr => buffer + i * PAGE_SIZE
    f.munmap(page(1), 1)
    makeZeroPage(f, page(2))
    makeWrittenReadOnly(f, page(3))
    f.mprotect(page(4), 3, RW)
    f.store(page(4), new Uint32Array([4]))
    expect(f.migrateToDev(handle, page(5), 1).cpages).toBe(1)
    expect(f.migrateToDev(handle1, page(6), 1).cpages).toBe(1)
    expect(f.snapshot(handle, buffer, 7)).toBe(`ff ff 11 01 02 ${kind === 'private' ? '22 00' : '42 52'}`)
  },

  double_map({ f, handle, handle1 }) {
    const buffer = f.mmap({ npages: 6 })
    const words = pattern(6)
    f.store(buffer, words)
    f.mprotect(buffer, 6, PROT_READ)
    const readAll = (reader: DmirrorHandle): void => {
      const read = f.read(reader, buffer, 6)
      expect(read).toMatchObject({ cpages: 6, faults: 1 })
      expectWords(read.buffer, words)
    }
    readAll(handle)
    readAll(handle1)
    expectWords(f.migrateToDev(handle1, buffer, 6).buffer, words)
    readAll(handle) // its entries went when the pages moved; private pages come back
  },
}

const CONFIGURATIONS = [
  { letter: 'A', name: 'A: huge pages never', thp: 'never' },
  { letter: 'B', name: 'B: huge pages on request', thp: 'madvise' },
  { letter: 'C', name: 'C: huge pages always', thp: 'always' },
] as const

const INSTANCES = (['private', 'coherent'] as const).flatMap((kind) => [
  ...Object.entries(HMM).map(([test, scenario]) => ({ name: `hmm.hmm_device_${kind}.${test}`, kind, scenario })),
  ...Object.entries(HMM2).map(([test, scenario]) => ({ name: `hmm2.hmm2_device_${kind}.${test}`, kind, scenario })),
])

/** Outcomes on Linux, by test and then by letter of the configuration: a table of names, each with `pass` or `FAIL`. */
function readOutcomes(): Map<string, Record<string, string>> {
  const text = readFileSync(new URL('../../conformance/traces/linux-6.1/hmm-tests.txt', import.meta.url), 'utf8')
  const rows = text.split('\n').map((line) => line.trim().split(/ +/))
  const letters = (rows.find(([first]) => first === 'test') ?? []).slice(1)
  const outcomes = rows.filter(([name]) => /^hmm2?\./.test(name))
  return new Map(outcomes.map(([name, ...cells]) => [name, Object.fromEntries(letters.map((l, i) => [l, cells[i]]))]))
}

const OUTCOMES = readOutcomes()

it('has the 58 instances of the kernel', () => {
  expect(INSTANCES.map(({ name }) => name).sort()).toEqual([...OUTCOMES.keys()].sort())
  expect(INSTANCES).toHaveLength(58)
})

for (const { letter, name, thp } of CONFIGURATIONS) {
  describe(name, () => {
    for (const { name, kind, scenario } of INSTANCES) {
      const outcome = OUTCOMES.get(name)?.[letter]
      it(`${name}: ${outcome}`, () => {
        const context = makeContext(kind, thp)
        if (outcome === 'pass') scenario(context)
        else expect(() => scenario(context)).toThrow(new CommandFailed('EXCLUSIVE', -EBUSY))
        context.f.finish()
      })
    }
  })
}

function makeContext(kind: DmirrorKind, thp: 'never' | 'madvise' | 'always'): Context {
  const first = kind === 'private' ? 0 : 2
  const f = new DmirrorFixture({
    memory: '96 MiB',
    thp,
    hugetlbPages: 8,
    now: () => {
      context.interleave()
      return 0
    },
  })
  const context: Context = {
    f,
    kind,
    handle: f.open(first),
    handle1: f.open(first + 1),
    open: (process) => f.open(first, process),
    interleave: () => {},
  }
  return context
}

function migrateAllToDev(f: DmirrorFixture, handle: DmirrorHandle, buffer: Addr, words: Uint32Array): void {
  const migrated = f.migrateToDev(handle, buffer, NPAGES)
  expect(migrated.cpages).toBe(NPAGES)
  expectWords(migrated.buffer, words)
}

function makeExclusiveBuffer(f: DmirrorFixture, handle: DmirrorHandle): Addr {
  const buffer = f.mmap({ npages: NPAGES })
  f.store(buffer, PATTERN)
  const exclusive = f.exclusive(handle, buffer, NPAGES)
  expect(exclusive.cpages).toBe(NPAGES)
  expectWords(exclusive.buffer, PATTERN)
  return buffer
}

/** The CPU increments every word, and no word twice. */
function incrementAll(f: DmirrorFixture, buffer: Addr, process: DmirrorFixture['process']): void {
  const words = f.load(buffer, NWORDS, process)
  for (let i = 0; i < NWORDS; i++) words[i]++
  f.store(buffer, words, process)
  expectWords(f.load(buffer, NWORDS, process), INCREMENTED)
}

function makeZeroPage(f: DmirrorFixture, addr: Addr): void {
  f.mprotect(addr, 1, PROT_READ)
  expect(f.load(addr, 1)[0]).toBe(0)
}

function makeWrittenReadOnly(f: DmirrorFixture, addr: Addr): void {
  f.mprotect(addr, 1, RW)
  f.store(addr, new Uint32Array([3]))
  f.mprotect(addr, 1, PROT_READ)
}

/** What the kernel's gup_test module does with one page: takes it for writing and lets it go. */
function gupAndRelease(f: DmirrorFixture, addr: Addr, options: { readonly longterm: boolean }): void {
  const { mm } = f.process
  const pfns: Pfn[] = []
  f.step(() => {
    expect(mm.mmapLock.tryRead()).toBe(true)
    const npages = options.longterm
      ? pinUserPages(mm, addr, 1, { write: true, longterm: true }, pfns)
      : getUserPagesRemote(mm, addr, 1, FOLL_WRITE, pfns)
    mm.mmapLock.unlockRead()
    expect(npages).toBe(1)
    for (const pfn of pfns) {
      if (options.longterm) unpinUserPage(mm.sys, pfn)
      else putPage(mm.sys, pfn)
    }
  })
}
