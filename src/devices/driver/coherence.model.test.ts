// Random programs on one address space that two memory devices and the CPU share, with copies and kernels that take time: in
// between everything else goes on. Each page holds a counter twice. Whoever writes the page adds one to both, a device with a
// pause between the two. So a load tells three mistakes apart:
//
//   less than was there when the load began     a store was lost, or the copy is stale
//   more than was ever begun                    contents of another page
//   the two differ                              the CPU saw the middle of a launch
//
// After each step all invariants hold, with exact references; in the end everything has ended and every counter is exact.

import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { DriverMachine, PASSING, SETUPS, type Setup, skipWithout } from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import type { DevicePolicy, Placement } from '../../hmm/policy.ts'
import { mmMprotect } from '../../mm/mprotect.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import { CAUSES, type Counters, makeCounters } from '../../trace/index.ts'
import { PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { isClaimed, whenUnclaimed } from '../claims.ts'
import { withMmapWriteLock } from '../edge.ts'
import type { LaunchMemory, MemoryDeviceOptions } from '../memory/index.ts'
import type { LaunchSlice } from './index.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 80)
const STEPS = Number(process.env['HETMEM_MODEL_STEPS'] ?? 40)

/** Programs in which everything is bound to happen. */
const ENOUGH = 60
const MANY = 300

const NARRAYS = 3
const ARRAY_PAGES = 6
/** Where the second counter of a page is. */
const SECOND = 2048

/** Times that one was added to a page. */
interface Page {
  /** Whoever begins later sees at least so much. */
  done: number
  /** Nobody sees more. */
  begun: number
}

/** One allocation, from its mmap to its munmap. */
interface Arr {
  readonly addr: number
  readonly pages: Page[]
  /** CPU accesses in progress: freeing it now would be a mistake of the program. */
  naccesses: number
  isFreed: boolean
}

interface Model {
  readonly arrays: Arr[]
}

interface Real {
  readonly machine: DriverMachine
  /** Operations in progress. */
  readonly pending: Set<Promise<void>>
  readonly errors: unknown[]
}

type Command = fc.AsyncCommand<Model, Real>

/** `begin` starts something; what it returns goes on while later steps run. */
function command(text: string, begin: (model: Model, real: Real) => Promise<unknown> | undefined): Command {
  return {
    check: () => true,
    async run(model, real) {
      const work = begin(model, real)
      if (work !== undefined) {
        const ended: Promise<void> = work.then(
          () => void real.pending.delete(ended),
          (error: unknown) => {
            real.pending.delete(ended)
            real.errors.push(error)
          },
        )
        real.pending.add(ended)
      }
      await validate(real)
    },
    toString: () => text,
  }
}

async function validate({ machine, errors }: Real): Promise<void> {
  machine.check()
  await machine.settle()
  machine.check()
  expect(errors).toEqual([])
}

const pageAt = (arr: Arr, i: number) => arr.addr + i * PAGE_SIZE

function makeArray(machine: DriverMachine, i: number): Arr {
  const addr = machine.map(1 + i * (ARRAY_PAGES + 1), ARRAY_PAGES, `array ${i}`)
  const pages = Array.from({ length: ARRAY_PAGES }, () => ({ done: 0, begun: 0 }))
  return { addr, pages, naccesses: 0, isFreed: false }
}

// ---- the CPU ----

function load(a: number, p: number): Command {
  return command(`load(${a}, page ${p})`, (model, real) => cpuAccess(model.arrays[a], p, false, real))
}

function store(a: number, p: number): Command {
  return command(`store(${a}, page ${p})`, (model, real) => cpuAccess(model.arrays[a], p, true, real))
}

async function cpuAccess(arr: Arr, p: number, write: boolean, { machine }: Real): Promise<void> {
  if (arr.isFreed) return
  const page = arr.pages[p]
  const least = page.done
  if (write) page.begun++
  arr.naccesses++
  const seen = await machine.access(pageAt(arr, p), write, (words) => {
    const values = [words[0], words[SECOND / 4]]
    if (write) {
      words[0]++
      words[SECOND / 4]++
    }
    return values
  })
  arr.naccesses--
  if (write) page.done++
  expectBetween(seen, least, page.begun - (write ? 1 : 0))
}

function expectBetween([first, second]: number[], least: number, most: number): void {
  expect(second).toBe(first)
  expect(first).toBeGreaterThanOrEqual(least)
  expect(first).toBeLessThanOrEqual(most)
}

// ---- launches ----

/** Pages `[from, to)` of array `a`. */
interface Part {
  readonly a: number
  readonly from: number
  readonly to: number
}

interface LaunchPlan {
  readonly device: number
  readonly reads: readonly Part[]
  readonly writes: readonly Part[]
  /** Microseconds of the kernel between its two additions; 0 for a kernel that takes no time. */
  readonly takes: number
  readonly durable: boolean
  readonly placement: Placement | undefined
  readonly inOnePiece: boolean
  /** One slice for each part instead of one for all. */
  readonly isSliced: boolean
}

const rangeOf = (model: Model, { a, from, to }: Part) => ({
  start: pageAt(model.arrays[a], from),
  end: pageAt(model.arrays[a], to),
})

/** The pages of all parts, each once. */
function pagesOf(model: Model, parts: readonly Part[]): Map<number, Page> {
  const pages = new Map<number, Page>()
  for (const { a, from, to } of parts) {
    for (let p = from; p < to; p++) pages.set(pageAt(model.arrays[a], p), model.arrays[a].pages[p])
  }
  return pages
}

function launch(plan: LaunchPlan): Command {
  return command(`launch(${JSON.stringify(plan)})`, (model, real) => runPlan(plan, model, real))
}

/** The program gives up after `delay` microseconds. */
function abortedLaunch(plan: LaunchPlan, delay: number): Command {
  return command(`abortedLaunch(${JSON.stringify(plan)}, ${delay})`, async (model, real) => {
    const { machine } = real
    const controller = new AbortController()
    machine.clock.callAt(machine.clock.now() + delay, () => controller.abort(new Error('given up')))
    await runPlan(plan, model, real, controller.signal)
  })
}

async function runPlan(plan: LaunchPlan, model: Model, { machine }: Real, signal?: AbortSignal): Promise<void> {
  const { device, takes, durable, placement, inOnePiece, isSliced } = plan
  if ([...plan.reads, ...plan.writes].some(({ a }) => model.arrays[a].isFreed)) return
  const reads = pagesOf(model, plan.reads)
  const allWrites = pagesOf(model, plan.writes)
  const allUsed = new Map([...reads, ...allWrites])
  if (allUsed.size > machine.devices[device].parts.pool.npages) return
  const least = new Map([...allUsed].map(([addr, page]) => [addr, page.done]))
  for (const page of allWrites.values()) page.begun++
  const added = new Set<Page>()
  const options = {
    ...(placement !== undefined && { placement }),
    ...(signal !== undefined && { signal }),
    durable,
    inOnePiece,
    ...(isSliced && { slices: () => slicesOf(plan, model) }),
    read: plan.reads.map((part) => rangeOf(model, part)),
    write: plan.writes.map((part) => rangeOf(model, part)),
    // Some of these go while the launch runs.
    around: model.arrays.map((array, a) => rangeOf(model, { a, from: 0, to: array.pages.length })),
  }
  /** Pages that an earlier slice has done. */
  const done = new Set<number>()
  const kernel = (memory: LaunchMemory, slice: LaunchSlice): Promise<void> | undefined => {
    const isMine = ([addr]: [addr: number, page: Page]): boolean => !done.has(addr) && isIn(slice, addr)
    const used = new Map([...allUsed].filter(isMine))
    const writes = new Map([...allWrites].filter(isMine))
    for (const addr of used.keys()) done.add(addr)
    const both = (addr: number) => [memory.load32(addr), memory.load32(addr + SECOND)]
    const first = new Map(
      [...used].map(([addr, page]) => {
        expectBetween(both(addr), least.get(addr) as number, page.begun - (writes.has(addr) ? 1 : 0))
        return [addr, memory.load32(addr)]
      }),
    )
    for (const addr of writes.keys()) memory.store32(addr, memory.load32(addr) + 1)
    const end = (): void => {
      for (const addr of used.keys())
        if (!writes.has(addr)) expect(both(addr)).toEqual([first.get(addr), first.get(addr)])
      for (const [addr, page] of writes) {
        memory.store32(addr + SECOND, memory.load32(addr + SECOND) + 1)
        expect(memory.load32(addr)).toBe((first.get(addr) as number) + 1)
        added.add(page)
      }
    }
    if (takes > 0)
      return new Promise((resolve, reject) => {
        machine.clock.callAt(machine.clock.now() + takes, () => {
          try {
            end()
            resolve()
          } catch (error) {
            reject(error)
          }
        })
      })
    end()
    return undefined
  }
  try {
    await machine.handles[device].run(options, kernel)
    expect(added.size).toBe(allWrites.size)
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error
  } finally {
    for (const page of added) page.done++
  }
}

/** Those that write first: a page that is read and written is done with the part that writes it. */
function slicesOf({ reads, writes }: LaunchPlan, model: Model): LaunchSlice[] {
  return [
    ...writes.map((each) => ({ write: [rangeOf(model, each)] })),
    ...reads.map((each) => ({ read: [rangeOf(model, each)] })),
  ]
}

function isIn({ read = [], write = [] }: LaunchSlice, addr: number): boolean {
  return [...read, ...write].some(({ start, end }) => start <= addr && addr < end)
}

// ---- what else happens to pages ----

function prefetch(device: number, part: Part, access: 'read' | 'write'): Command {
  return command(`prefetch(${device}, ${JSON.stringify(part)}, ${access})`, async (model, { machine }) => {
    const arr = model.arrays[part.a]
    if (arr.isFreed) return
    // The program does not free what it is prefetching.
    arr.naccesses++
    await machine.handles[device].prefetch(rangeOf(model, part), access)
    arr.naccesses--
  })
}

function bringBack(device: number, part: Part): Command {
  return command(`bringBack(${device}, ${JSON.stringify(part)})`, async (model, { machine }) => {
    await machine.handles[device].bringBack(rangeOf(model, part))
  })
}

function evictAll(device: number): Command {
  return command(`evictAll(${device})`, (_model, { machine }) => machine.devices[device].evictAll())
}

function swapOut(npages: number): Command {
  return command(`swapOut(${npages})`, (_model, { machine }) => {
    machine.sys.reclaim(npages)
    return undefined
  })
}

/** free and a new allocation in its place. */
function free(a: number): Command {
  return command(`free(${a})`, async (model, { machine }) => {
    const arr = model.arrays[a]
    if (arr.isFreed || arr.naccesses > 0) return
    arr.isFreed = true
    await whenUnclaimed(machine.mm, { start: arr.addr, end: pageAt(arr, ARRAY_PAGES) })
    await machine.munmap(arr.addr, ARRAY_PAGES)
    model.arrays[a] = await withMmapWriteLock(machine.mm, () => makeArray(machine, a))
  })
}

/** Read-only for a moment, as a program protects its data. */
function protect(a: number): Command {
  return command(`protect(${a})`, async (model, { machine }) => {
    const arr = model.arrays[a]
    if (arr.isFreed || arr.naccesses > 0) return
    arr.naccesses++
    const range = { start: arr.addr, end: pageAt(arr, ARRAY_PAGES) }
    const change = (): boolean => {
      // A launch may have begun while the lock was waited for; nobody changes what it has claimed.
      if (isClaimed(machine.mm, range)) return false
      expect(mmMprotect(machine.mm, arr.addr, ARRAY_PAGES * PAGE_SIZE, PROT_READ)).toBe(0)
      machine.check()
      expect(mmMprotect(machine.mm, arr.addr, ARRAY_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE)).toBe(0)
      return true
    }
    do await whenUnclaimed(machine.mm, range)
    while (!(await withMmapWriteLock(machine.mm, change)))
    arr.naccesses--
  })
}

function tick(): Command {
  return command('tick()', (_model, { machine }) => {
    machine.clock.step()
    return undefined
  })
}

const arrayIndex = fc.nat(NARRAYS - 1)
const pageIndex = fc.nat(ARRAY_PAGES - 1)
const deviceIndex = fc.nat(1)
const part: fc.Arbitrary<Part> = fc
  .tuple(arrayIndex, pageIndex, fc.integer({ min: 1, max: 4 }))
  .map(([a, from, n]) => ({ a, from, to: Math.min(from + n, ARRAY_PAGES) }))
const plan: fc.Arbitrary<LaunchPlan> = fc.record({
  device: deviceIndex,
  reads: fc.array(part, { maxLength: 2 }),
  writes: fc.array(part, { maxLength: 2 }),
  takes: fc.constantFrom(0, 5, 40),
  durable: fc.boolean(),
  placement: fc.constantFrom<Placement | undefined>(undefined, 'duplicate', 'pin', 'migrate'),
  inOnePiece: fc.boolean(),
  isSliced: fc.boolean(),
})

const commands = fc.commands(
  [
    fc.tuple(arrayIndex, pageIndex).map(([a, p]) => load(a, p)),
    fc.tuple(arrayIndex, pageIndex).map(([a, p]) => store(a, p)),
    fc.tuple(arrayIndex, pageIndex).map(([a, p]) => store(a, p)),
    plan.map(launch),
    plan.map(launch),
    fc.tuple(plan, fc.nat(60)).map(([p, delay]) => abortedLaunch(p, delay)),
    fc
      .tuple(deviceIndex, part, fc.constantFrom<'read' | 'write'>('read', 'write'))
      .map(([d, p, a]) => prefetch(d, p, a)),
    fc.tuple(deviceIndex, part).map(([d, p]) => bringBack(d, p)),
    deviceIndex.map(evictAll),
    fc.integer({ min: 1, max: 8 }).map(swapOut),
    arrayIndex.map(free),
    arrayIndex.map(protect),
    fc.constant(tick()),
    fc.constant(tick()),
    fc.constant(tick()),
  ],
  { maxCommands: STEPS, size: 'max' },
)

/** Links from none at all to slow ones. */
const link = fc.constantFrom(
  {},
  { latency: 7 },
  { latency: 3, bandwidth: 2 * 1024 ** 3 },
  { bandwidth: 512 * 1024 ** 2 },
)

/** As it is; one that never calls anything thrashing, so that touches bring their neighbours along; and one that soon does. */
const policy = fc.constantFrom<DevicePolicy>(
  DEFAULT_POLICY,
  { ...DEFAULT_POLICY, moveWindow: -1 },
  {
    ...DEFAULT_POLICY,
    touch: (counters) => ({ ...DEFAULT_POLICY.touch(counters), isThrashing: counters.nmoves > 1, npages: 1 }),
  },
)

interface Options {
  readonly setup: Setup
  readonly links: readonly Partial<MemoryDeviceOptions>[]
  readonly policy: DevicePolicy
  readonly nframes: number
}

async function open({ setup, links, policy, nframes }: Options): Promise<{ model: Model; real: Real }> {
  const memory = [10 * PAGE_SIZE, 6 * PAGE_SIZE]
  const devices = links.map((each, i) => ({ memory: memory[i], policy, ...each }))
  const machine = await DriverMachine.open(setup, { nframes, swapPages: 64, devices })
  const arrays = Array.from({ length: NARRAYS }, (_, i) => makeArray(machine, i))
  return { model: { arrays }, real: { machine, pending: new Set(), errors: [] } }
}

/** What happened in all programs together. */
type Seen = Counters & { nswapped: number }

function addSeen(seen: Seen, { machine }: Real): void {
  const { total } = machine.tracer.counters
  for (const cause of CAUSES) {
    seen.pagesMigrated[cause] += total.pagesMigrated[cause]
    seen.bytesHostToDevice[cause] += total.bytesHostToDevice[cause]
    seen.bytesDeviceToHost[cause] += total.bytesDeviceToHost[cause]
  }
  seen.duplicatesInvalidated += total.duplicatesInvalidated
  seen.replays += total.replays
  seen.thrashing += total.thrashing
  seen.throttling += total.throttling
  seen.nswapped += machine.sys.swap?.stats.pagesOut ?? 0
}

/** Everything ends, every counter is exact, and nothing is left behind. */
async function finish({ arrays }: Model, real: Real): Promise<void> {
  const { machine, pending, errors } = real
  while (pending.size > 0) {
    await machine.finish(Promise.race(pending))
    machine.check()
  }
  expect(errors).toEqual([])
  for (const arr of arrays) {
    for (const [p, { done }] of arr.pages.entries()) {
      const addr = pageAt(arr, p)
      const values = machine.access(addr, false, (words) => [words[0], words[SECOND / 4]])
      expect(await machine.finish(values)).toEqual([done, done])
    }
  }
  machine.check()
  await machine.close()
}

describe.each([...SETUPS, ...PASSING])('coherence of $hardware devices on the $backend backend', (setup) => {
  beforeEach((test) => skipWithout(setup, test))

  it('no load is stale and no store is lost, whatever happens at the same time', { timeout: 0 }, async () => {
    const seen: Seen = { ...makeCounters(), nswapped: 0 }
    const options = fc.record({ links: fc.tuple(link, link), policy, nframes: fc.constantFrom(28, 64) })
    await fc.assert(
      fc.asyncProperty(commands, options, async (program, rest) => {
        const { model, real } = await open({ setup, ...rest })
        await fc.asyncModelRun(() => ({ model, real }), program)
        addSeen(seen, real)
        await finish(model, real)
      }),
      { numRuns: RUNS, endOnFailure: RUNS > 1000 },
    )
    if (RUNS < ENOUGH) return
    // The programs are about what they are meant to be about.
    const { pagesMigrated, bytesDeviceToHost, bytesHostToDevice, duplicatesInvalidated, replays, nswapped } = seen
    for (const cause of ['fault', 'prefetch', 'eviction', 'user'] as const) {
      expect(pagesMigrated[cause], `pages migrated by ${cause}`).toBeGreaterThan(0)
      // Results that are copied before they are asked for have been asked for several times: few programs do that.
      if (cause === 'prefetch' && RUNS < MANY) continue
      expect(bytesDeviceToHost[cause], `bytes back by ${cause}`).toBeGreaterThan(0)
    }
    expect(bytesHostToDevice.fault).toBeGreaterThan(0)
    expect([duplicatesInvalidated, replays, nswapped, seen.thrashing].every((count) => count > 0)).toBe(true)
  })
})
