// Kernels as programs of the driver: launches of a batch run in order, each in slices that fit the device; what fits together is
// brought in together and submitted at once.

import { PAGE_SIZE } from '../../base/addr.ts'
import { MmError } from '../../base/errno.ts'
import { type Dispatch, dispatchesOf } from '../../kernel/dispatches.ts'
import { isEmpty } from '../../kernel/grid.ts'
import type { KernelLaunch } from '../../kernel/program.ts'
import { countPages, type LaunchSlice, planSlices } from '../../kernel/slices.ts'
import type { AddrRange } from '../claims.ts'
import type { DeviceLimits, LaunchReceipt, LaunchRequest } from '../driver/index.ts'
import type { KernelDispatcher, SliceCommand, Strays } from './kernel-dispatch.ts'
import type { KernelPipelines } from './kernel-pipelines.ts'
import { type PagedSite, runPagedKernel, whyNotPaged } from './paged-kernel.ts'

/** How a kernel is to be run. */
export interface KernelOptions extends Pick<LaunchRequest, 'durable' | 'signal'> {
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
 * Runs launches one after the other, as one launch of the device.
 *
 * Rejects with a CompileError or RangeError for a kernel that the device does not take, with an MmError ENOMEM if one workgroup
 * needs more than the device has, and as `DriverHandle.run`.
 */
export async function runKernels(
  site: KernelSite,
  launches: readonly KernelLaunch[],
  options: KernelOptions,
): Promise<KernelReceipt> {
  const { pipelines, dispatcher, handle } = site
  const { sliceMax, ...rest } = options
  const tooLarge = tooLargeToBind(site, launches, sliceMax)
  if (tooLarge !== null)
    return { ...(await runPagedKernel(site, launches[0], rest, tooLarge)), ndirect: 0, strays: null }
  const ranges = launches.flatMap(({ program, ranges }) =>
    ranges.map((range, k) => ({ ...range, write: program.bindings[k].write })),
  )
  let strays: KernelReceipt['strays'] = null
  let ndirect = 0
  // Compiled while pages move. A mistake in a kernel is told when it would run.
  const compiled = new Map<StepPart, Promise<SliceCommand['pipelines']>>()
  const request: LaunchRequest<Step> = {
    ...rest,
    ...byAccess(ranges),
    inOnePiece: true,
    slices: (limits) => {
      const steps = planSteps(launches, limits, dispatcher.workgroupsMax, sliceMax)
      for (const part of steps.flatMap(({ parts }) => parts)) {
        const compiling = compileForms(pipelines, part)
        compiling.catch(() => {})
        compiled.set(part, compiling)
      }
      return steps
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
    if (found !== null) strays = { ...found, launch: parts[0].index }
  })
  return { ...receipt, ndirect, strays }
}

/**
 * Why a launch is too large for direct bindings, where it can go through a page table instead; null for every other one. Of several
 * launches at once each has to fit.
 */
function tooLargeToBind(
  site: KernelSite,
  launches: readonly KernelLaunch[],
  sliceMax: number | undefined,
): string | null {
  const [launch] = launches
  const always = launches.find(
    ({ program: { paged } }) => paged !== null && (paged.pointers !== null || paged.scope === 'step'),
  )
  if (always !== undefined) {
    const { name, whyNotIndexed } = always.program
    const whyNot = launches.length > 1 ? 'it runs alone, not in a batch' : whyNotPaged(site, launch)
    if (whyNot === null) return whyNotIndexed ?? 'it is to go through a page table'
    throw new RangeError(`${name}: ${whyNotIndexed}, and ${whyNot}`)
  }
  if (launches.length !== 1 || isEmpty(launch.grid)) return null
  try {
    planSteps(launches, site.handle.limits, site.dispatcher.workgroupsMax, sliceMax)
    return null
  } catch (error) {
    if (!(error instanceof MmError) || error.code !== 'ENOMEM') throw error
    const whyNot = whyNotPaged(site, launch)
    if (whyNot === null) return error.detail ?? error.message
    const detail = `${error.detail ?? error.message}, and cannot go through a page table: ${whyNot}`
    throw new MmError(error.errno, launch.program.name, { detail })
  }
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
