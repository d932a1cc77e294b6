// The heap: memory for programs, as ordinary typed arrays that devices can use too. Start here, or with openHeap.
//
// In explicit mode nobody traps the CPU, so whose a page is has to be known. Fresh arrays are the CPU's. A launch takes the pages
// that it writes and shares those that it reads; `sync` gives pages back. In live mode the hardware does that, and `sync` only
// makes sure beforehand that nobody has to wait.
//
// The heap has the arrays; what lies behind them is the engine's (engine/), which it talks to in plain messages.

import { PAGE_SIZE } from '../base/addr.ts'
import type { ArgumentValues, KernelArguments } from '../kernel/argument.ts'
import type { LaunchCount } from '../kernel/grid.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { type AccessOption, checkAccess, type PrefetchOptions } from './access-options.ts'
import type { AllocOptions } from './allocation.ts'
import type { Arena } from './arena.ts'
import { type ArrayOf, type ArrayType, describe, type HeapView } from './array-types.ts'
import { errorOf } from './engine/failure.ts'
import { ADVICE, type Advice, type EngineCall, type EngineCalls, type EnginePort } from './engine/protocol.ts'
import type { DataSource, FileOpener } from './files.ts'
import { HeapArrays, type Pointer } from './heap-arrays.ts'
import { HeapError, HeapRangeError, HeapTypeError } from './heap-error.ts'
import { HeapFiles } from './heap-files.ts'
import type { HeapHandle, HeapSharing } from './heap-handle.ts'
import type { HeapMode, UnfreedOption } from './heap-options.ts'
import type { LoadOptions, MapOptions } from './map-options.ts'
import { NotShared } from './not-shared.ts'
import { checkNames } from './option-checks.ts'
import { OrderedPort } from './ordered-port.ts'
import {
  CloseReceipt,
  describeUnfreed,
  HeapStats,
  type LoadReceipt,
  PinReceipt,
  Receipt,
  Residency,
  type UnfreedArray,
} from './receipts.ts'
import type { Room } from './room.ts'
import { type Batch, Runner, type RunOptions } from './run.ts'
import type { RunReceipt } from './run-receipt.ts'
import type { Scope } from './scope.ts'
import { type BufferLender, type BufferRange, noticeIfLong, type WithBufferOptions } from './with-buffer.ts'

/** `Symbol.asyncDispose`, also where the runtime has none yet. */
const ASYNC_DISPOSE: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')

/** How openHeap puts a heap together. */
export interface HeapParts {
  readonly mode: HeapMode
  readonly arena: Arena
  readonly port: EnginePort
  /** Where arrays get their room from besides the arena. Default: there is always enough. */
  readonly room?: Room
  readonly unfreed: UnfreedOption
  readonly onNotice: (text: string) => void
  /** Opens files. Default: there are none. */
  readonly openFile?: FileOpener
  /** Lends ranges of GPU buffers. Default: the engine is on another thread. */
  readonly lend?: BufferLender
  /** What it shares with heaps of other threads. Default: nobody else has a heap on this memory. */
  readonly sharing?: HeapSharing
  /** Resolves when nothing of the heap is left that was not in the engine's hands. Default: at once. */
  readonly whenGone?: () => Promise<void>
}

/** Memory that CPU code and devices share. `openHeap` makes one. */
export class Heap {
  /** How accesses of the CPU to pages that are elsewhere are found: here 'explicit' means by `sync`. */
  readonly mode: HeapMode
  readonly #arena: Arena
  readonly #port: OrderedPort
  readonly #arrays: HeapArrays
  readonly #files: HeapFiles
  readonly #runner: Runner
  readonly #unfreed: UnfreedOption
  readonly #onNotice: (text: string) => void
  readonly #lend: BufferLender | null
  readonly #whenGone: () => Promise<void>
  readonly #sharing: HeapSharing
  #closing: Promise<CloseReceipt> | null = null

  /** @internal Use openHeap. */
  constructor(parts: HeapParts) {
    const { mode, arena, room = null, unfreed, onNotice, openFile = null, lend = null, whenGone } = parts
    const sharing = parts.sharing ?? new NotShared(mode)
    const port = new OrderedPort(parts.port)
    const arrays = new HeapArrays({ arena, port, room, sharing, onNotice })
    this.mode = mode
    this.#arena = arena
    this.#port = port
    this.#arrays = arrays
    this.#files = new HeapFiles({
      arrays,
      isLive: mode !== 'explicit',
      openPath: openFile,
      sync: (view) => this.sync(view),
    })
    this.#runner = new Runner(port, arrays.allocations)
    this.#unfreed = unfreed
    this.#onNotice = onNotice
    this.#lend = lend
    this.#sharing = sharing
    this.#whenGone = whenGone ?? (async () => {})
  }

  /**
   * For `attachHeap` on other threads, which have a heap on the same memory then. Goes wherever messages go.
   *
   *     new Worker(program, { workerData: { heap: heap.handle, x } })
   *
   * Throws a HeapError NOT_IN_MODE where other threads cannot join.
   */
  get handle(): HeapHandle {
    this.#arrays.checkOpen()
    return this.#sharing.handle()
  }

  // ---- arrays ----

  /**
   * A new array of zeroes: an ordinary typed array.
   *
   *     const x = heap.alloc(Float32Array, 1_000_000, { name: 'x' })
   *
   * Throws a TypeError or RangeError for a type, length (in elements) or option that is none, and a HeapError OUT_OF_SPACE.
   */
  alloc<T extends ArrayType>(type: T, length: number, options: AllocOptions = {}): ArrayOf<T> {
    this.#arrays.checkOpen()
    return this.#arrays.alloc(type, length, options).array
  }

  /**
   * Frees an array; its memory is used again. Launches that were handed in before may still use it. Nothing happens to who
   * reads the array afterwards, but what he finds there is of no use.
   *
   * Throws a HeapError DOUBLE_FREE or FOREIGN_VIEW, and a RangeError for a view of less than a whole array.
   */
  free(array: HeapView): void {
    this.#arrays.checkOpen()
    this.#arrays.free(array)
  }

  /**
   * Runs `body`, and frees what was allocated in it, except what it returns: an array, or whatever has arrays in it. If `body`
   * is asynchronous that is when it has ended. Hands out what it returns.
   *
   *     const norm = heap.scope((scope) => {
   *       const squares = scope.alloc(Float32Array, x.length)
   *       ...
   *     })
   *
   * `heap.alloc` counts too, but in an asynchronous body only up to its first await: after that use `scope.alloc`.
   */
  scope<T>(body: (scope: Scope) => T): T {
    this.#arrays.checkOpen()
    return this.#arrays.scope(body)
  }

  /**
   * Where a view begins, as a pointer that means the same to devices.
   *
   * Throws a RangeError for a view that does not begin at a multiple of 4 bytes, and a HeapError USE_AFTER_FREE or
   * FOREIGN_VIEW.
   */
  ptr(view: HeapView): Pointer {
    this.#arrays.checkOpen()
    return this.#arrays.ptr(view)
  }

  /**
   * The memory at a pointer as a typed array of `length` elements, inside of one array.
   *
   * Throws a HeapError BAD_POINTER or USE_AFTER_FREE, and a TypeError or RangeError for arguments that are none.
   */
  view<T extends ArrayType>(type: T, pointer: Pointer, length: number): ArrayOf<T> {
    this.#arrays.checkOpen()
    return this.#arrays.view(type, pointer, length)
  }

  /** Live arrays, oldest first. */
  get arrays(): readonly UnfreedArray[] {
    return [...this.#arrays.allocations.live].map(({ name, type, nbytes }) => ({ name, type, bytes: nbytes }))
  }

  // ---- files ----

  /**
   * Shows a part of a file as an array, which is for reading. In live mode nothing is read before it is touched, and what has not
   * been touched lately is dropped and read again: the array may be larger than memory, and takes none of the room for others.
   * In explicit mode the part is read now.
   *
   *     const weights = await heap.map('model.bin', Float32Array, { offset: 4096 })
   *
   * The file stays as it is, whatever is stored to the array. It must stay so for others too: a page of a file that was changed
   * since is lost, and a touch of it ends the process with a message.
   *
   * Rejects with a TypeError or RangeError for arguments that are none or a file that is too short, and with a HeapError BAD_FILE,
   * OUT_OF_SPACE, or NOT_IN_MODE where there are no files.
   */
  async map<T extends ArrayType>(path: string | URL, type: T, options: MapOptions = {}): Promise<ArrayOf<T>> {
    this.#arrays.checkOpen()
    return await this.#files.map(path, type, options)
  }

  /**
   * Fills a view with bytes from a file or a stream, in every mode: they are read to memory outside of the heap and copied from
   * there, so that nobody but this thread waits for pages.
   *
   *     await heap.load(x, 'data.bin', { offset: 64 })
   *     await heap.load(y, response.body)
   *
   * Rejects like `sync`, with a HeapError BAD_FILE if there are not enough bytes, READ_ONLY for an array that shows a file, or
   * NOT_IN_MODE for a path where there are no files. What was read before is in the view then.
   */
  async load(view: HeapView, source: DataSource, options: LoadOptions = {}): Promise<LoadReceipt> {
    this.#arrays.checkOpen()
    return await this.#files.load(view, source, options)
  }

  // ---- kernels ----

  /**
   * Runs a kernel on a device: `count` invocations, exactly. Arrays may be parts of arrays, may overlap, and may be larger than the
   * device. Launches that share arrays run in the order of the calls. When it resolves, the CPU may `sync` what was written.
   *
   *     const receipt = await heap.run(saxpy, { x, y, a: 2 }, n)
   *     await heap.run(blur, { image, out, width }, [width, height])
   *     await heap.run(reduce, { x, sums }, { workgroups: Math.ceil(n / 256) })
   *
   * Rejects, before anything has happened, with a TypeError or RangeError that names the argument, and with a HeapError NO_DEVICE,
   * READ_ONLY, HELD, NOT_OWNED, LOST, USE_AFTER_FREE or FOREIGN_VIEW; with TOO_LARGE if one workgroup needs more than the device
   * has; with a KernelError if the device does not take the code; strict, with OUT_OF_BOUNDS; or with the reason of the signal.
   */
  async run<A extends KernelArguments>(
    kernel: Kernel<A>,
    args: ArgumentValues<A>,
    count: LaunchCount,
    options: RunOptions = {},
  ): Promise<RunReceipt> {
    this.#arrays.checkOpen()
    return await this.#runner.run(kernel, args, count, options)
  }

  /**
   * Runs launches one after the other, with one receipt: sooner than one by one, because what fits on the device together is
   * handed to it together. `body` only names them.
   *
   *     await heap.batch((b) => {
   *       b.run(clear, { sums }, sums.length)
   *       b.run(reduce, { x, sums }, { workgroups })
   *     })
   *
   * Rejects like `run`. Nothing has run if an argument of one of them does not fit; else those before the one that failed have.
   */
  async batch<T>(
    body: (batch: Batch) => T extends PromiseLike<unknown> ? never : T,
    options: RunOptions = {},
  ): Promise<RunReceipt> {
    this.#arrays.checkOpen()
    return await this.#runner.batch(body, options)
  }

  /**
   * Keeps a view in one piece on a GPU while `use` runs, which gets the place: for drawing, for textures, for other libraries. It
   * counts as a launch that reads the view, or reads and writes it: what the program hands to the queue until `use` has ended finds
   * the view there, and the CPU and other launches wait for it. Resolves with what `use` returned.
   *
   *     await heap.withBuffer(image, 'read', ({ device, buffer, offset, size }) => {
   *       // ... encode a copy from `buffer`, from `offset` on
   *       device.queue.submit([encoder.finish()])
   *     })
   *
   * `offset` is a multiple of 4096 for an array from its beginning on; the buffer holds other arrays too. A list of views gives a list
   * of places. Whatever else is called for that device meanwhile waits until `use` has ended, which must therefore not wait for it.
   *
   * Rejects with what `use` threw, and with a HeapError NOT_IN_MODE if the engine is on another thread (in live mode), NO_DEVICE, and
   * like `run`.
   */
  withBuffer<T>(
    view: HeapView,
    access: AccessOption,
    use: (range: BufferRange) => T | Promise<T>,
    options?: WithBufferOptions,
  ): Promise<T>
  withBuffer<T>(
    views: readonly HeapView[],
    access: AccessOption,
    use: (ranges: readonly BufferRange[]) => T | Promise<T>,
    options?: WithBufferOptions,
  ): Promise<T>
  async withBuffer<T>(
    views: HeapView | readonly HeapView[],
    access: AccessOption,
    use: (ranges: never) => T | Promise<T>,
    options: WithBufferOptions = {},
  ): Promise<T> {
    this.#arrays.checkOpen()
    checkNames(options, 'withBuffer options', ['device'])
    checkAccess(access)
    if (typeof use !== 'function') throw new HeapTypeError(`use is ${describe(use)}, wanted a function`)
    const isList = Array.isArray(views)
    const parts = (isList ? (views as readonly HeapView[]) : [views as HeapView]).map((view) => {
      const part = this.#arrays.allocations.partOf(view)
      if (part.start < part.end) return part
      throw new HeapRangeError(`withBuffer: a view of "${part.allocation.name}" has no elements, wanted at least one`)
    })
    const lend = this.#lend
    if (lend === null) {
      throw new HeapError(
        'NOT_IN_MODE',
        'withBuffer: the engine is on another thread, and its GPUDevice cannot leave that',
      )
    }
    const request = {
      ranges: parts.map(({ start, end }) => ({ start, end })),
      write: access === 'readWrite',
      device: options.device ?? null,
    }
    const names = parts.map(({ allocation }) => allocation.name)
    const call = use as (ranges: BufferRange | readonly BufferRange[]) => T | Promise<T>
    const noticed = noticeIfLong((ranges) => call(isList ? ranges : ranges[0]), names, this.#onNotice)
    let lent: Promise<T> | undefined
    // In the order of the calls, and without making those after it wait for its end.
    await this.#port.before(async () => {
      lent = lend(request, noticed)
      lent.catch(() => {})
    })
    return await (lent as Promise<T>)
  }

  // ---- whose memory is where ----

  /**
   * Gives memory to the CPU: for reading and writing, or with 'read' last for reading, which leaves devices what they have.
   * Whole pages of 4096 bytes; waits for the launches that use them.
   *
   *     await heap.sync(x, y)
   *     await heap.sync(y.subarray(n - 1), 'read')
   *
   * Rejects with a HeapError USE_AFTER_FREE, FOREIGN_VIEW, LOST, or NOT_OWNED if pages were touched that belonged to devices.
   */
  sync(...views: HeapView[]): Promise<Receipt>
  sync(...args: [...HeapView[], AccessOption]): Promise<Receipt>
  async sync(...args: (HeapView | AccessOption)[]): Promise<Receipt> {
    this.#arrays.checkOpen()
    const last = args.at(-1)
    const access = typeof last === 'string' ? checkAccess(last) : 'readWrite'
    const views = (typeof last === 'string' ? args.slice(0, -1) : args) as HeapView[]
    const outcome = await this.#send('sync', { ranges: this.#arrays.rangesOf(views), write: access === 'readWrite' })
    return new Receipt('sync', 'to the CPU', outcome)
  }

  /**
   * Brings memory to a device, or to the CPU, before it is needed there. A hint: what does not fit stays.
   *
   *     await heap.prefetch(x, { to: 'gpu', access: 'readWrite' })
   *
   * For a device, 'readWrite' takes the pages as a launch that writes them does. To the CPU it is `sync` for reading.
   *
   * Rejects like `sync`, and with a HeapError NO_DEVICE or READ_ONLY.
   */
  async prefetch(view: HeapView, options: PrefetchOptions = {}): Promise<Receipt> {
    this.#arrays.checkOpen()
    checkNames(options, 'options', ['to', 'access'])
    const { to = null, access = 'read' } = options
    if (to !== null && typeof to !== 'string') {
      throw new HeapTypeError(`to is ${describe(to)}, wanted 'cpu' or the name of a device`)
    }
    const write = checkAccess(access) === 'readWrite'
    const ranges = this.#arrays.rangesOf([view])
    if (to === 'cpu') return new Receipt('prefetch', 'to the CPU', await this.#send('sync', { ranges, write }))
    const outcome = await this.#send('prefetch', { ranges, write, device: to })
    return new Receipt('prefetch', `to ${to ?? 'the device'}`, outcome)
  }

  /**
   * Gives memory to the CPU, keeps it there while `body` runs, and hands out what that returns: for calls that use the memory
   * by themselves, such as reading a file into it. A launch that wants the memory meanwhile is refused (HELD).
   *
   *     await heap.withResident(x, () => handle.read(x))
   */
  async withResident<T>(
    views: HeapView | readonly HeapView[],
    body: () => T | Promise<T>,
    access: AccessOption = 'readWrite',
  ): Promise<T> {
    this.#arrays.checkOpen()
    if (typeof body !== 'function') throw new HeapTypeError(`body is ${describe(body)}, wanted a function`)
    const ranges = this.#arrays.rangesOf(Array.isArray(views) ? (views as readonly HeapView[]) : [views as HeapView])
    const { hold } = await this.#send('hold', { ranges, write: checkAccess(access) === 'readWrite' })
    try {
      return await body()
    } finally {
      await this.#release(hold)
    }
  }

  /**
   * Gives memory to the CPU and keeps it there until `unpin()` of the receipt. Launches that want it are refused (HELD).
   *
   *     const held = await heap.pin(x)
   *     held.unpin()
   *
   * Rejects like `sync`, and with OUT_OF_SPACE for more than can be held of `memory`.
   */
  async pin(view: HeapView, access: AccessOption = 'readWrite'): Promise<PinReceipt> {
    this.#arrays.checkOpen()
    const write = checkAccess(access) === 'readWrite'
    const { hold, outcome } = await this.#send('hold', { ranges: this.#arrays.rangesOf([view]), write })
    return new PinReceipt(outcome, () => void this.#release(hold))
  }

  /**
   * The contents are not needed any more: nobody copies them again. The pages are the CPU's, and zero. Pages that have other
   * elements too stay as they are. Waits for the launches that use them.
   *
   *     await heap.discard(scratch)
   *
   * Rejects like `sync`, and with a HeapError HELD.
   */
  async discard(...views: HeapView[]): Promise<Receipt> {
    this.#arrays.checkOpen()
    return new Receipt('discard', 'discarded', await this.#send('discard', { ranges: this.#arrays.rangesOf(views) }))
  }

  /**
   * Says how memory is going to be used: 'sequential' is from front to back and read ahead farther, 'random' here and there and
   * not read ahead, 'normal' follows what the touches show; 'cold' is not needed on a device for a while and goes back to system memory now.
   *
   *     await heap.advise(x, 'sequential')
   *
   * Rejects like `sync`, and with a RangeError for advice that is none.
   */
  async advise(view: HeapView, advice: Advice): Promise<Receipt> {
    this.#arrays.checkOpen()
    if (!ADVICE.includes(advice)) {
      throw new HeapRangeError(`advice is ${describe(advice)}, wanted one of ${ADVICE.join(', ')}`)
    }
    const outcome = await this.#send('advise', { ranges: this.#arrays.rangesOf([view]), advice })
    return new Receipt('advise', advice === 'cold' ? 'to system memory' : advice, outcome)
  }

  /**
   * Where the pages of a view are, 4096 bytes each.
   *
   *     console.log(`${await heap.where(x)}`)     // "x": 3 pages on gpu, 1 page with the CPU
   *
   * Rejects with a HeapError USE_AFTER_FREE or FOREIGN_VIEW.
   */
  async where(view: HeapView): Promise<Residency> {
    this.#arrays.checkOpen()
    const { start, end, allocation } = this.#arrays.allocations.partOf(view)
    const { array, runs } = await this.#send('where', { range: { start, end } })
    const elementBytes = 'BYTES_PER_ELEMENT' in view ? view.BYTES_PER_ELEMENT : 1
    return new Residency(
      array === '' ? allocation.name : array,
      runs,
      start % PAGE_SIZE,
      elementBytes,
      (end - start) / elementBytes,
    )
  }

  /** What the heap holds, and what happened in it since it was opened. */
  async stats(): Promise<HeapStats> {
    this.#arrays.checkOpen()
    const live = [...this.#arrays.allocations.live]
    const { devices, waiting, memory, counters, byArray } = await this.#send('stats', {})
    return new HeapStats({
      mode: this.mode,
      arrays: live.length,
      allocated: live.reduce((sum, { nbytes }) => sum + nbytes, 0),
      reserved: this.#arena.segments.reduce((sum, { nbytes }) => sum + nbytes, 0),
      devices,
      waiting,
      memory,
      counters,
      byArray,
    })
  }

  // ---- the end ----

  /**
   * Ends the heap, after everything that is in progress. Arrays can still be read, but what is in them is of no use: sync before
   * what you need. Closing twice is the same as once.
   *
   * Rejects, with the heap closed, with NOT_OWNED if pages were touched that belonged to devices, and with UNFREED if arrays
   * were left and the heap was opened with `unfreed: 'error'`.
   */
  close(): Promise<CloseReceipt> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** For `await using heap = await openHeap()`. */
  async [ASYNC_DISPOSE](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<CloseReceipt> {
    const unfreed = this.arrays
    this.#arrays.close()
    const { isAttached } = this.#sharing
    const { misuses } = await this.#send(isAttached ? 'detach' : 'close', {})
    await this.#whenGone()
    if (misuses.length > 0) throw errorOf({ code: 'NOT_OWNED', message: '', misuses })
    if (unfreed.length > 0 && this.#unfreed === 'warn') this.#onNotice(`hetmem: ${describeUnfreed(unfreed)}`)
    if (unfreed.length > 0 && this.#unfreed === 'error') throw new HeapError('UNFREED', describeUnfreed(unfreed))
    return new CloseReceipt(unfreed)
  }

  // ---- helpers ----

  /** @internal Another thread has freed an array of this heap. */
  freedByOthers(id: number): void {
    this.#arrays.freedByOthers(id)
  }

  #release(hold: number): Promise<null> {
    return this.#arrays.isOpen ? this.#send('release', { hold }) : Promise.resolve(null)
  }

  /** Sends a call and waits for the answer. Rejects with the error that the engine's refusal stands for. */
  #send<C extends EngineCall>(call: C, args: EngineCalls[C]['args']): Promise<EngineCalls[C]['answer']> {
    return new Promise((resolve, reject) => {
      this.#port.call(call, args, (reply) => {
        if (reply.ok) resolve(reply.answer)
        else reject(errorOf(reply.failure))
      })
    })
  }
}
