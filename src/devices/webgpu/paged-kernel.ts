// Kernels that go through a page table, as programs of the driver: pages of their arguments come when they are missed. For launches
// that do not fit as a whole and cannot be cut, because each invocation may use all of an argument.

import { PAGE_SIZE } from '../../base/addr.ts'
import { formFor } from '../../kernel/paged/bound-atomics.ts'
import { GpuFaultError } from '../../kernel/paged/gpu-fault-error.ts'
import type { PageAnswer, PageProvider, PageRequest } from '../../kernel/paged/page-provider.ts'
import { PagedDispatch } from '../../kernel/paged/paged-dispatch.ts'
import type { PagedLaunch } from '../../kernel/paged/paged-launch.ts'
import { createPagedPipeline, type PagedPipeline } from '../../kernel/paged/paged-pipeline.ts'
import { type PagedProgram, POOL_WORDS_END, tableEntry } from '../../kernel/paged/paged-program.ts'
import { OTHER_BUFFERS } from '../../kernel/paged/pool-banks.ts'
import { type KernelLaunch, UNIFORM_ALIGN } from '../../kernel/program.ts'
import type { DemandPages, DriverHandle, LaunchReceipt, LaunchRequest } from '../driver/index.ts'
import type { GpuBanks } from './gpu-banks.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import type { GpuLaunch } from './gpu-launch.ts'
import { LaunchBuffers } from './launch-buffers.ts'
import { settled } from './waits.ts'

/** Pages of 4 KiB, in words. */
const PAGE_BITS = 10

/** Entries of a page table, at most: 16 GiB. */
const TABLE_PAGES_MAX = 2 ** 22

const TABLE_PAGES_MIN = 2 ** 12

/** Entries that are written with their neighbours though they have not changed: 16 KiB cost no more than another call. */
const TABLE_GAP_MAX = 4096

export interface PagedSite {
  readonly context: GpuContext
  readonly banks: GpuBanks
  readonly handle: DriverHandle<GpuLaunch>
}

/** Why a launch cannot go through a page table here, as a phrase; null if it can. */
export function whyNotPaged({ banks, context }: PagedSite, launch: KernelLaunch): string | null {
  const { program, grid } = launch
  if (program.paged === null) return program.whyNotPaged ?? 'it is to run with direct bindings only'
  const room = context.device.limits.maxStorageBuffersPerShaderStage - OTHER_BUFFERS
  if (banks.buffers.length > room) {
    return `the memory of the device is in ${banks.buffers.length} buffers, and a kernel can be given ${room} of them`
  }
  if ((banks.npages * PAGE_SIZE) / 4 >= POOL_WORDS_END) return 'the device has 16 GiB of memory or more'
  const isShared = program.bindings.some(({ args, write }) => args.length > 1 && write)
  if (isShared) return 'arguments that are written overlap others'
  const { scope, workgroupSize } = program.paged
  const isWhole = grid.count.every((n, d) => n === grid.workgroups[d] * workgroupSize[d])
  if (scope === 'workgroup' && !isWhole) return 'its last workgroups are not whole'
  if ((endOf(launch) - originOf(launch)) / PAGE_SIZE <= TABLE_PAGES_MAX) return null
  return program.paged.pointers === null ? 'its arguments lie more than 16 GiB apart' : 'the heap is larger than 16 GiB'
}

/**
 * Runs a launch through a page table. `why` says why it is not bound directly.
 *
 * Rejects with a GpuFaultError, with a CompileError for code that the device does not take, and as `DriverHandle.run`.
 */
export async function runPagedKernel(
  site: PagedSite,
  launch: KernelLaunch,
  options: Pick<LaunchRequest, 'name' | 'durable' | 'signal' | 'after'>,
  why: string,
): Promise<LaunchReceipt> {
  const { context, banks, handle } = site
  const { program } = launch
  const { paged, words } = formOf(site, launch)
  const whyAndHow = paged.how === null ? why : `${why}; ${paged.how}`
  // Compiled while the launch waits for its turn: it claims its ranges now, so that launches keep their order.
  const compiling = pipelineOf(context.device, banks, paged)
  compiling.catch(() => {})
  const bound = launch.ranges.map(({ start, end }, i) => ({ start, end, write: program.bindings[i].write }))
  const ranges = [...bound, ...launch.reach]
  const plain = (write: boolean) =>
    ranges.filter((range) => range.write === write).map(({ start, end }) => ({ start, end }))
  const request = { ...options, read: plain(false), write: plain(true) }
  return await handle.runOnDemand(request, whyAndHow, async (pages) => {
    const buffers = LaunchBuffers.take(context.device, banks, tableWordsOf(launch))
    try {
      const provider = new DemandProvider(context.device, banks, pages, launch, buffers.table)
      const dispatch = new PagedDispatch(context.device, provider, { buffers: buffers.pagedFor(provider) })
      const { slices, replays } = await dispatch.run(await compiling, words)
      buffers.keep()
      return { nslices: slices, nreplays: replays }
    } catch (error) {
      buffers.destroy()
      if (context.lostBecause === null || error instanceof GpuFaultError) throw error
      throw new GpuError(`the device is lost: ${context.lostBecause}`)
    }
  })
}

/** The form that is run, and the launch in its words. */
function formOf({ banks, context }: PagedSite, launch: KernelLaunch): { paged: PagedProgram; words: PagedLaunch } {
  const { name, paged } = launch.program
  if (paged === null) throw new TypeError(`${name} cannot run through a page table`)
  const words = pagedLaunchOf(paged, launch)
  const { maxStorageBuffersPerShaderStage } = context.device.limits
  const hasRoom = banks.buffers.length + OTHER_BUFFERS < maxStorageBuffersPerShaderStage
  return { paged: hasRoom ? formFor(paged, words, { pageBits: PAGE_BITS, capacity: banks.npages }) : paged, words }
}

const pipelines = new WeakMap<GpuBanks, WeakMap<PagedProgram, Promise<PagedPipeline>>>()

function pipelineOf(device: GPUDevice, banks: GpuBanks, program: PagedProgram): Promise<PagedPipeline> {
  const known = pipelines.get(banks) ?? new WeakMap<PagedProgram, Promise<PagedPipeline>>()
  pipelines.set(banks, known)
  const pool = { count: banks.buffers.length, words: (banks.bankPages * PAGE_SIZE) / 4 }
  const pipeline =
    known.get(program) ??
    createPagedPipeline(device, { program, map: null }, PAGE_BITS, pool, (promise) => settled(device.queue, promise))
  known.set(program, pipeline)
  return pipeline
}

/**
 * Where the words of a launch are counted from: for pointers the beginning of the heap, as on the CPU; otherwise the page before the
 * first argument, so that no argument is at word 0.
 */
function originOf({ ranges, program }: KernelLaunch): number {
  if ((program.paged?.pointers ?? null) !== null) return 0
  const first = Math.min(...ranges.map(({ start }) => start))
  return Math.floor(first / PAGE_SIZE) * PAGE_SIZE - PAGE_SIZE
}

function endOf({ ranges, reach }: KernelLaunch): number {
  return Math.max(...[...ranges, ...reach].map(({ end }) => end))
}

function pageCountOf(launch: KernelLaunch): number {
  return Math.ceil((endOf(launch) - originOf(launch)) / PAGE_SIZE)
}

/** The length of a table is a constant of compiled kernels, so there are few. */
function tableWordsOf(launch: KernelLaunch): number {
  return 2 ** Math.ceil(Math.log2(Math.max(TABLE_PAGES_MIN, pageCountOf(launch))))
}

function pagedLaunchOf(paged: PagedProgram, launch: KernelLaunch): PagedLaunch {
  const { program, ranges, args, uniforms, grid } = launch
  const origin = originOf(launch)
  return {
    args: paged.args.map(({ name, stride }) => {
      const k = program.args.findIndex((arg) => arg.name === name)
      const start = ranges[program.args[k].binding].start + args[k].skip * stride
      return { word: (start - origin) / 4, length: args[k].length }
    }),
    uniforms: paged.uniforms.map(({ name, size }) => {
      const k = program.uniforms.findIndex((uniform) => uniform.name === name)
      const at = uniformOffset(launch, k)
      return uniforms.slice(at, at + size)
    }),
    extent: grid.count,
    reach: launch.reach.map(({ start, end, write }) => ({
      start: (start - origin) / 4,
      end: (end - origin) / 4,
      write,
    })),
  }
}

function uniformOffset({ program }: KernelLaunch, index: number): number {
  return program.uniforms
    .slice(0, index)
    .reduce((offset, { size }) => offset + Math.ceil(size / UNIFORM_ALIGN) * UNIFORM_ALIGN, 0)
}

/** The pages of a launch as its kernel sees them: numbered from the page before the first argument. */
class DemandProvider implements PageProvider {
  readonly pageBits = PAGE_BITS
  readonly frameCount: number
  readonly capacity: number
  readonly pageCount: number
  readonly pool: GPUBuffer
  readonly morePools: readonly GPUBuffer[]
  readonly table: GPUBuffer
  private readonly device: GPUDevice
  private readonly pages: DemandPages
  private readonly firstVpn: number
  /** The table as it is on the device. */
  private readonly entries: Uint32Array<ArrayBuffer>

  constructor(device: GPUDevice, banks: GpuBanks, pages: DemandPages, launch: KernelLaunch, table: GPUBuffer) {
    this.device = device
    this.pages = pages
    this.firstVpn = originOf(launch) / PAGE_SIZE
    this.pageCount = pageCountOf(launch)
    this.frameCount = banks.npages
    this.capacity = pages.capacity
    const [pool, ...morePools] = banks.buffers
    this.pool = pool
    this.morePools = morePools
    this.table = table
    this.entries = new Uint32Array(table.size / 4)
    pages.keepResident()
    this.writeTable()
  }

  get isWarm(): boolean {
    return 2 * this.pages.frames.size >= this.pages.npages
  }

  async service({ read, write, pinned }: PageRequest): Promise<PageAnswer> {
    const vpnOf = (page: number): number => this.firstVpn + page
    const gone = await this.pages.bring({
      read: read.map(vpnOf),
      write: write.map(vpnOf),
      pinned: new Set([...pinned].map(vpnOf)),
    })
    this.writeTable()
    return { evicted: gone.map((vpn) => vpn - this.firstVpn) }
  }

  finish(round: Promise<void>): Promise<void> {
    return this.pages.finish(settled(this.device.queue, round))
  }

  frameOf(page: number): number {
    const frame = this.pages.frames.get(this.firstVpn + page)
    if (frame === undefined) throw new RangeError(`page ${page} is not on the device`)
    return frame
  }

  noteUsed(frames: readonly number[]): void {
    this.pages.markUsed(frames)
  }

  noteDirty(frames: readonly number[]): void {
    this.pages.markWritten(frames)
  }

  /** Writes what has changed of the table, in as few pieces as it lies in. */
  private writeTable(): void {
    const { entries, firstVpn, pages } = this
    const changed = pages.takeChanged().sort((a, b) => a - b)
    for (const vpn of changed) {
      const frame = pages.frames.get(vpn)
      entries[vpn - firstVpn] = frame === undefined ? 0 : tableEntry(frame, PAGE_BITS, pages.isWritable(vpn))
    }
    for (let at = 0; at < changed.length; ) {
      let end = at + 1
      while (end < changed.length && changed[end] - changed[end - 1] <= TABLE_GAP_MAX) end++
      const [first, last] = [changed[at] - firstVpn, changed[end - 1] - firstVpn]
      this.device.queue.writeBuffer(this.table, 4 * first, entries, first, last + 1 - first)
      at = end
    }
  }
}
