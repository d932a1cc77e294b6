// Kernels as programs of the driver: launches of a batch run in order, each in slices that fit the device; what fits together is
// brought in together and submitted at once.

import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { type Dispatch, dispatchesOf } from '../../kernel/dispatches.ts'
import { GpuFaultError } from '../../kernel/paged/gpu-fault-error.ts'
import type { KernelLaunch } from '../../kernel/program.ts'
import { countPages, type LaunchSlice, planSlices } from '../../kernel/slices.ts'
import type { AddrRange } from '../claims.ts'
import type { DeviceLimits, LaunchReceipt, LaunchRequest } from '../driver/index.ts'
import type { KernelDispatcher, SliceCommand, Strays } from './kernel-dispatch.ts'
import type { KernelPipelines } from './kernel-pipelines.ts'
import { type PagedSite, runPagedKernel, whyNotPaged } from './paged-kernel.ts'

/** How a kernel is to be run. */
export interface KernelOptions extends Pick<LaunchRequest, 'durable' | 'signal' | 'around'> {
  /** In receipts and errors. */
  readonly name: string
  /** Workgroups of one slice along the dimension that is cut, at most. Default: as many as fit. */
  readonly sliceMax?: number
}

/** What a launch of a kernel came to. */
export interface KernelReceipt extends LaunchReceipt {
  /** Slices in the direct form, with the bodies as the user wrote them. The others are in the indexed form. */
  readonly ndirect: number
  /** What a strict launch did that it should not have; null if nothing. */
  readonly strays: (Strays & { readonly launch: number }) | null
}

/** What runs kernels on a device. */
export interface KernelSite extends PagedSite {
  readonly pipelines: KernelPipelines
  readonly dispatcher: KernelDispatcher
}

/** Slices of launches that run together. */
interface Step {
  readonly read: readonly AddrRange[]
  readonly write: readonly AddrRange[]
  readonly parts: readonly StepPart[]
}

interface StepPart {
  /** Index of the launch. */
  readonly index: number
  readonly launch: KernelLaunch
  readonly slice: LaunchSlice
  readonly dispatches: readonly Dispatch[]
}

/**
 * Runs launches one after the other: those that are bound directly together, as one launch of the device, and each that goes through
 * a page table alone. Whoever uses the same data comes before all of them or after. Returns a receipt for each part.
 *
 * Rejects with a CompileError or RangeError for a kernel that the device does not take, with an MmError ENOMEM if one workgroup
 * needs more than the device has, with a GpuFaultError, and as `DriverHandle.run`. Parts behind one that fails do not begin.
 */
export async function runKernels(
  site: KernelSite,
  launches: readonly KernelLaunch[],
  options: KernelOptions,
): Promise<KernelReceipt[]> {
  const all: Promise<KernelReceipt>[] = []
  for (const part of partsOf(site, launches, options.sliceMax)) {
    const after = all.at(-1)
    const running = part.steps === null ? runPaged(site, part, options, after) : runDirect(site, part, options, after)
    running.catch(() => {})
    all.push(running)
  }
  const ended = await Promise.allSettled(all)
  const failed = ended.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
  return await Promise.all(all)
}

/** Launches that are one launch of the device. */
interface Part {
  /** Index of the first one. */
  readonly first: number
  readonly launches: readonly KernelLaunch[]
  /** Null for one that goes through a page table. */
  readonly steps: readonly Step[] | null
  /** Why it does. */
  readonly why: string
}

async function runPaged(
  site: KernelSite,
  { launches: [launch], first, why }: Part,
  { sliceMax: _, ...options }: KernelOptions,
  after: Promise<unknown> | undefined,
): Promise<KernelReceipt> {
  try {
    const request = after === undefined ? options : { ...options, after }
    return { ...(await runPagedKernel(site, launch, request, why)), ndirect: 0, strays: null }
  } catch (error) {
    if (error instanceof GpuFaultError && error.launch === null) error.launch = first
    throw error
  }
}

async function runDirect(
  { pipelines, dispatcher, handle }: KernelSite,
  { launches, first, steps }: Part,
  { sliceMax: _, ...options }: KernelOptions,
  after: Promise<unknown> | undefined,
): Promise<KernelReceipt> {
  const ranges = launches.flatMap(({ program, ranges }) =>
    ranges.map((range, k) => ({ ...range, write: program.bindings[k].write })),
  )
  let strays: KernelReceipt['strays'] = null
  let ndirect = 0
  // Compiled while pages move. A mistake in a kernel is told when it would run.
  const compiled = new Map<StepPart, Promise<SliceCommand['pipelines']>>()
  const request: LaunchRequest<Step> = {
    ...options,
    ...byAccess(ranges),
    ...(after !== undefined && { after }),
    inOnePiece: true,
    slices: () => {
      for (const part of steps!.flatMap(({ parts }) => parts)) {
        const compiling = compileForms(pipelines, part)
        compiling.catch(() => {})
        compiled.set(part, compiling)
      }
      return steps!
    },
  }
  const receipt = await handle.run(request, async (memory, { parts }) => {
    const commands: SliceCommand[] = []
    for (const part of parts) {
      const { launch, slice, dispatches } = part
      const places = slice.ranges.map((range) => memory.binding(range, range.write ? 'write' : 'read'))
      commands.push({ launch, slice, dispatches, pipelines: await compiled.get(part)!, places })
      if (slice.direct) ndirect++
    }
    const isStrict = parts.some(({ launch }) => launch.program.faultBinding !== null)
    if (isStrict) dispatcher.clearStrays()
    dispatcher.submit(commands)
    if (!isStrict || strays !== null) return
    const found = await dispatcher.readStrays()
    if (found !== null) strays = { ...found, launch: first + parts[0].index }
  })
  return { ...receipt, ndirect, strays }
}

/** Which launches run together. Throws for one that cannot run at all, before anything has happened. */
function partsOf(site: KernelSite, launches: readonly KernelLaunch[], sliceMax: number | undefined): Part[] {
  const { limits } = site.handle
  const plan = (some: readonly KernelLaunch[]): readonly Step[] =>
    planSteps(some, limits, site.dispatcher.workgroupsMax, sliceMax)
  const whole = planOrWhyNot(plan, launches)
  if ('steps' in whole) return [{ first: 0, launches, steps: whole.steps, why: '' }]
  const parts: { first: number; launches: KernelLaunch[]; why: string | null }[] = []
  launches.forEach((launch, first) => {
    const planned = planOrWhyNot(plan, [launch])
    const last = parts.at(-1)
    if ('why' in planned) parts.push({ first, launches: [launch], why: whyPaged(site, launch, planned) })
    else if (last !== undefined && last.why === null) last.launches.push(launch)
    else parts.push({ first, launches: [launch], why: null })
  })
  return parts.map(({ first, launches: some, why }) => ({
    ...{ first, launches: some, why: why ?? '' },
    steps: why === null ? plan(some) : null,
  }))
}

type Plan = { readonly steps: readonly Step[] } | WhyNot

/** Why launches cannot be bound directly; the error that says so, if the reason is their size. */
interface WhyNot {
  readonly why: string
  readonly error: MmError | null
}

function planOrWhyNot(plan: (some: readonly KernelLaunch[]) => readonly Step[], some: readonly KernelLaunch[]): Plan {
  for (const { program } of some) {
    const { paged, whyNotIndexed } = program
    const isAlways = paged !== null && (paged.pointers !== null || paged.scope === 'step')
    if (isAlways) return { why: whyNotIndexed ?? 'it is to go through a page table', error: null }
  }
  try {
    return { steps: plan(some) }
  } catch (error) {
    if (!(error instanceof MmError) || error.code !== 'ENOMEM') throw error
    return { why: error.detail ?? error.message, error }
  }
}

/** Why a launch goes through a page table. Throws a RangeError or MmError if it has to and cannot. */
function whyPaged(site: KernelSite, launch: KernelLaunch, { why, error }: WhyNot): string {
  const whyNot = whyNotPaged(site, launch)
  if (whyNot === null) return why
  const { name } = launch.program
  if (error === null) throw new RangeError(`${name}: ${why}, and ${whyNot}`)
  throw new MmError(error.errno, name, { detail: `${why}, and cannot go through a page table: ${whyNot}` })
}

/** The pipelines of all forms that the dispatches of a slice have. */
async function compileForms(
  pipelines: KernelPipelines,
  { launch, dispatches }: StepPart,
): Promise<SliceCommand['pipelines']> {
  const forms = [...new Set(dispatches.map(({ form }) => form))]
  const all = await Promise.all(forms.map((form) => pipelines.compile(launch.program, form)))
  return Object.fromEntries(forms.map((form, i) => [form, all[i]]))
}

/** Launches that fit as a whole share a step as long as they fit together; a strict one has a step of its own. */
function planSteps(
  launches: readonly KernelLaunch[],
  device: DeviceLimits,
  workgroupsMax: number,
  sliceMax: number | undefined,
): Step[] {
  const { npages, bankPages } = device
  // Half of a bank at most, where there are several: then there is a place for each piece however the others lie. A piece may begin
  // within a page.
  const piecePages = bankPages < npages ? Math.max(1, Math.floor(bankPages / 2) - 1) : bankPages
  const bindingBytes = Math.min(device.pieceBytesMax, piecePages * PAGE_SIZE)
  const limits = { npages, bindingBytes, ...(sliceMax !== undefined && { workgroups: sliceMax }) }
  const steps: { parts: StepPart[]; ranges: WrittenRange[] }[] = []
  let open: (typeof steps)[number] | null = null
  launches.forEach((launch, index) => {
    const parts = planSlices(launch, limits).map((slice) => {
      return { index, launch, slice, dispatches: dispatchesOf(launch, slice, workgroupsMax) }
    })
    const joins = parts.length === 1 && launch.program.faultBinding === null
    if (joins && open !== null) {
      const { ranges } = parts[0].slice
      const together = covers(open.ranges, ranges) ? open.ranges : join([...open.ranges, ...ranges])
      if (together === open.ranges || countPages(together) <= npages) {
        open.parts.push(...parts)
        open.ranges = together
        return
      }
    }
    for (const part of parts) steps.push({ parts: [part], ranges: join(part.slice.ranges) })
    open = joins ? (steps.at(-1) ?? null) : null
  })
  return steps.map(({ parts, ranges }) => ({ parts, ...byAccess(ranges) }))
}

type WrittenRange = AddrRange & { readonly write: boolean }

/** The same memory is used in the same way already. */
function covers(all: readonly WrittenRange[], ranges: readonly WrittenRange[]): boolean {
  return ranges.every(({ start, end, write }) =>
    all.some((range) => range.start <= start && end <= range.end && (range.write || !write)),
  )
}

/** The ranges without overlaps, by address: what is written somewhere counts as written. */
function join(ranges: readonly WrittenRange[]): WrittenRange[] {
  const joined: { start: number; end: number; write: boolean }[] = []
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1)
    if (last === undefined || range.start >= last.end) joined.push({ ...range })
    else {
      last.end = Math.max(last.end, range.end)
      last.write ||= range.write
    }
  }
  return joined
}

function byAccess(ranges: readonly WrittenRange[]): Pick<Step, 'read' | 'write'> {
  const joined = join(ranges)
  const plain = ({ start, end }: AddrRange): AddrRange => ({ start, end })
  return {
    read: joined.filter(({ write }) => !write).map(plain),
    write: joined.filter(({ write }) => write).map(plain),
  }
}
