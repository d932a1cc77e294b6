// The heap: memory for programs, as ordinary typed arrays that devices can use too. Start here, or with openHeap.
//
// In explicit mode nobody traps the CPU, so whose a page is has to be known. Fresh arrays are the CPU's. A launch takes the pages
// that it writes and shares those that it reads; `sync` gives pages back. In live mode the hardware does that, and `sync` only
// makes sure beforehand that nobody has to wait.
//
// The heap has the arrays; what lies behind them is the engine's (engine/), which it talks to in plain messages.

import { PAGE_SIZE } from '../base/addr.ts'
import { formatAddr } from '../base/assert.ts'
import { formatSize, type Size } from '../base/size.ts'
import type { ArgumentValues, KernelArguments } from '../kernel/argument.ts'
import type { LaunchCount } from '../kernel/grid.ts'
import type { Kernel } from '../kernel/kernel.ts'
import {
  type Allocation,
  Allocations,
  type AllocOptions,
  allocationAddr,
  describeAllocation,
  isOthers,
} from './allocation.ts'
import { type Arena, SEGMENT_BYTES_MAX } from './arena.ts'
import {
  type ArrayOf,
  type ArrayType,
  type ArrayTypeName,
  checkArrayType,
  checkLength,
  describe,
  type HeapView,
  makeArray,
} from './array-types.ts'
import { errorOf } from './engine/failure.ts'
import {
  ADVICE,
  type Advice,
  type ByteRange,
  type EngineCall,
  type EngineCalls,
  type EnginePort,
  type Failure,
  type NewArray,
} from './engine/protocol.ts'
import { type DataSource, type FileOpener, fileOfArray, fillFrom, type OpenFile, pathOf, piecesOf } from './files.ts'
import { HeapError, HeapRangeError, HeapTypeError } from './heap-error.ts'
import type { HeapHandle, HeapSharing } from './heap-handle.ts'
import type { HeapMode, UnfreedOption } from './heap-options.ts'
import { type LoadOptions, type MapOptions, parseLoadOptions, parseMapOptions } from './map-options.ts'
import { checkNames, parseBytes } from './option-checks.ts'
import { OrderedPort } from './ordered-port.ts'
import {
  CloseReceipt,
  describeUnfreed,
  HeapStats,
  LoadReceipt,
  PinReceipt,
  Receipt,
  Residency,
  type UnfreedArray,
} from './receipts.ts'
import type { Room } from './room.ts'
import { type Batch, Runner, type RunOptions } from './run.ts'
import type { RunReceipt } from './run-receipt.ts'
import { type Scope, Scopes } from './scope.ts'
import type { BufferLender, BufferRange, WithBufferOptions } from './with-buffer.ts'

/** What is going to be done with memory: reading, or reading and writing. */
export const ACCESS_OPTIONS = ['read', 'readWrite'] as const
export type AccessOption = (typeof ACCESS_OPTIONS)[number]

/** Where `prefetch` brings pages, and for what. */
export interface PrefetchOptions {
  /** 'cpu', or the name of a device. Default: the first device. */
  readonly to?: string
  /** 'read' lets the CPU go on reading. Default 'read'. */
  readonly access?: AccessOption
}

/** A pointer to the memory of a heap: words of 4 bytes from its beginning. 0 points to nothing. */
export type Pointer = number

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
  readonly #room: Room | null
  readonly #allocations: Allocations
  readonly #runner: Runner
  readonly #scopes: Scopes
  readonly #unfreed: UnfreedOption
  readonly #onNotice: (text: string) => void
  readonly #openPath: FileOpener | null
  /** Arrays that show files. */
  readonly #shown = new Set<Allocation>()
  readonly #lend: BufferLender | null
  readonly #whenGone: () => Promise<void>
  readonly #sharing: HeapSharing
  #closing: Promise<CloseReceipt> | null = null

  /** @internal Use openHeap. */
  constructor({ mode, arena, port, room, unfreed, onNotice, openFile, lend, sharing, whenGone }: HeapParts) {
    this.mode = mode
    this.#arena = arena
    this.#port = new OrderedPort(port)
    this.#room = room ?? null
    this.#allocations = new Allocations(arena)
    this.#runner = new Runner(this.#port, this.#allocations)
    this.#scopes = new Scopes({
      allocationOf: (view) => this.#allocations.find(view),
      free: (allocation) => {
        if (this.#closing === null && this.#allocations.isLive(allocation)) this.#free(allocation)
      },
    })
    this.#unfreed = unfreed
    this.#onNotice = onNotice
    this.#openPath = openFile ?? null
    this.#lend = lend ?? null
    this.#sharing = sharing ?? new NotShared(mode)
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
    this.#checkOpen()
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
    const { array, allocation } = this.#alloc(type, length, options)
    this.#scopes.add(allocation)
    return array
  }

  /**
   * Frees an array; its memory is used again. Launches that were handed in before may still use it. Nothing happens to who
   * reads the array afterwards, but what he finds there is of no use.
   *
   * Throws a HeapError DOUBLE_FREE or FOREIGN_VIEW, and a RangeError for a view of less than a whole array.
   */
  free(array: HeapView): void {
    this.#checkOpen()
    const allocation = this.#allocations.wholeOf(array)
    if (isOthers(allocation)) this.#freeOthers(allocation, array)
    else this.#free(allocation)
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
    this.#checkOpen()
    if (typeof body !== 'function') throw new HeapTypeError(`body is ${describe(body)}, wanted a function`)
    return this.#scopes.run((add) =>
      body({
        alloc: (type, length, options = {}) => {
          const { array, allocation } = this.#alloc(type, length, options)
          add(allocation)
          return array
        },
      }),
    )
  }

  /**
   * Where a view begins, as a pointer that means the same to devices.
   *
   * Throws a RangeError for a view that does not begin at a multiple of 4 bytes, and a HeapError USE_AFTER_FREE or
   * FOREIGN_VIEW.
   */
  ptr(view: HeapView): Pointer {
    this.#checkOpen()
    const { start, allocation } = this.#allocations.partOf(view)
    if (start % 4 === 0) return start / 4
    const offset = start - allocationAddr(allocation)
    throw new HeapRangeError(`view at byte ${offset} of "${allocation.name}", wanted a multiple of 4 for a pointer`)
  }

  /**
   * The memory at a pointer as a typed array of `length` elements, inside of one array.
   *
   * Throws a HeapError BAD_POINTER or USE_AFTER_FREE, and a TypeError or RangeError for arguments that are none.
   */
  view<T extends ArrayType>(type: T, pointer: Pointer, length: number): ArrayOf<T> {
    this.#checkOpen()
    checkArrayType(type)
    checkLength(length)
    if (typeof pointer !== 'number') throw new HeapTypeError(`pointer is ${describe(pointer)}, wanted a number`)
    if (!Number.isInteger(pointer) || pointer < 0 || pointer > 0xffff_ffff) {
      throw new HeapRangeError(`pointer is ${pointer}, wanted a whole number below 2^32`)
    }
    if (pointer === 0) throw new HeapError('BAD_POINTER', 'pointer is 0, which points to nothing')
    const { allocation, start } = this.#allocations.partAt(
      4 * pointer,
      length * type.BYTES_PER_ELEMENT,
      formatAddr(pointer),
    )
    const { segment } = allocation
    const byteOffset = start - segment.addr
    if (byteOffset % type.BYTES_PER_ELEMENT !== 0) {
      const wanted = `a multiple of ${type.BYTES_PER_ELEMENT} bytes for a ${type.name}`
      throw new HeapRangeError(`pointer ${formatAddr(pointer)} is to byte ${4 * pointer}, wanted ${wanted}`)
    }
    return makeArray(type, segment.buffer, byteOffset, length)
  }

  /** Live arrays, oldest first. */
  get arrays(): readonly UnfreedArray[] {
    return [...this.#allocations.live].map(({ name, type, nbytes }) => ({ name, type, bytes: nbytes }))
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
    this.#checkOpen()
    checkArrayType(type)
    const file = this.#openFile(path)
    const isShown = this.mode !== 'explicit'
    try {
      const { offset, length, name } = parseMapOptions(options, type, file)
      const shown = isShown ? { file, offset } : null
      const { array, allocation, mapped } = this.#alloc(type, length, { name, readOnly: true }, shown)
      this.#scopes.add(allocation)
      if (isShown) this.#shown.add(allocation)
      try {
        if (!isShown) await fillFrom(bytesOf(array), file.pieces(offset), 0, `file ${JSON.stringify(file.path)}`)
        const failure = await mapped
        if (failure !== null) throw errorOf(failure)
      } catch (error) {
        if (this.#allocations.isLive(allocation)) this.#free(allocation)
        throw error
      }
      return array
    } finally {
      // The engine has opened it for itself by now.
      file.close()
    }
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
    this.#checkOpen()
    const { offset } = parseLoadOptions(options)
    const { allocation } = this.#allocations.partOf(view)
    if (this.#shown.has(allocation)) throw new HeapError('READ_ONLY', `"${allocation.name}" shows a file`)
    const path = pathOf(source)
    const file = path === undefined ? null : this.#openFile(path)
    const begin = performance.now()
    try {
      if (this.mode === 'explicit') await this.sync(view)
      const what = path === undefined ? 'source' : `file ${JSON.stringify(path)}`
      const pieces = file === null ? piecesOf(source) : file.pieces(offset)
      await fillFrom(bytesOf(view), pieces, file === null ? offset : 0, what)
      return new LoadReceipt(allocation.name, view.byteLength, performance.now() - begin)
    } finally {
      file?.close()
    }
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
    this.#checkOpen()
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
  async batch(body: (batch: Batch) => void, options: RunOptions = {}): Promise<RunReceipt> {
    this.#checkOpen()
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
   * `offset` is a multiple of 4096 for an array from its beginning on; the buffer holds other arrays too.
   *
   * Rejects with what `use` threw, and with a HeapError NOT_IN_MODE if the engine is on another thread (in live mode), NO_DEVICE, and
   * like `run`.
   */
  async withBuffer<T>(
    view: HeapView,
    access: AccessOption,
    use: (range: BufferRange) => T | Promise<T>,
    options: WithBufferOptions = {},
  ): Promise<T> {
    this.#checkOpen()
    checkNames(options, 'withBuffer options', ['device'])
    if (!ACCESS_OPTIONS.includes(access)) {
      throw new HeapRangeError(`access is ${describe(access)}, wanted one of ${ACCESS_OPTIONS.join(', ')}`)
    }
    const { start, end } = this.#allocations.partOf(view)
    const lend = this.#lend
    if (lend === null) {
      throw new HeapError(
        'NOT_IN_MODE',
        'withBuffer: the engine is on another thread, and its GPUDevice cannot leave that',
      )
    }
    let lent: Promise<T> | undefined
    // In the order of the calls, and without making those after it wait for its end.
    await this.#port.before(async () => {
      lent = lend({ start, end }, access === 'readWrite', options.device ?? null, use)
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
    this.#checkOpen()
    const last = args.at(-1)
    const access = typeof last === 'string' ? checkAccess(last) : 'readWrite'
    const views = (typeof last === 'string' ? args.slice(0, -1) : args) as HeapView[]
    const outcome = await this.#send('sync', { ranges: this.#rangesOf(views), write: access === 'readWrite' })
    return new Receipt('sync', 'to the CPU', outcome)
  }

  /**
   * Brings memory to a device, or to the CPU, before it is needed there. A hint: what does not fit stays.
   *
   * For a device, 'readWrite' takes the pages as a launch that writes them does. To the CPU it is `sync` for reading.
   *
   * Rejects like `sync`, and with a HeapError NO_DEVICE or READ_ONLY.
   */
  async prefetch(view: HeapView, options: PrefetchOptions = {}): Promise<Receipt> {
    this.#checkOpen()
    checkNames(options, 'options', ['to', 'access'])
    const { to = null, access = 'read' } = options
    if (to !== null && typeof to !== 'string') {
      throw new HeapTypeError(`to is ${describe(to)}, wanted 'cpu' or the name of a device`)
    }
    const write = checkAccess(access) === 'readWrite'
    const ranges = this.#rangesOf([view])
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
    this.#checkOpen()
    if (typeof body !== 'function') throw new HeapTypeError(`body is ${describe(body)}, wanted a function`)
    const ranges = this.#rangesOf(Array.isArray(views) ? (views as readonly HeapView[]) : [views as HeapView])
    const { hold } = await this.#send('hold', { ranges, write: checkAccess(access) === 'readWrite' })
    try {
      return await body()
    } finally {
      await this.#release(hold)
    }
  }

  /**
   * Gives memory to the CPU and keeps it there until `unpin()` of the receipt. Launches that want it are refused (HELD).
   * Rejects like `sync`.
   */
  async pin(view: HeapView, access: AccessOption = 'readWrite'): Promise<PinReceipt> {
    this.#checkOpen()
    const write = checkAccess(access) === 'readWrite'
    const { hold, outcome } = await this.#send('hold', { ranges: this.#rangesOf([view]), write })
    return new PinReceipt(outcome, () => void this.#release(hold))
  }

  /**
   * The contents are not needed any more: nobody copies them again. The pages are the CPU's, and zero. Pages that have other
   * elements too stay as they are. Waits for the launches that use them.
   *
   * Rejects like `sync`, and with a HeapError HELD.
   */
  async discard(...views: HeapView[]): Promise<Receipt> {
    this.#checkOpen()
    return new Receipt('discard', 'discarded', await this.#send('discard', { ranges: this.#rangesOf(views) }))
  }

  /** Says how memory is going to be used. Rejects like `sync`, and with a RangeError for advice that is none. */
  async advise(view: HeapView, advice: Advice): Promise<Receipt> {
    this.#checkOpen()
    if (!ADVICE.includes(advice)) {
      throw new HeapRangeError(`advice is ${describe(advice)}, wanted one of ${ADVICE.join(', ')}`)
    }
    const outcome = await this.#send('advise', { ranges: this.#rangesOf([view]), advice })
    return new Receipt('advise', advice === 'cold' ? 'to system memory' : advice, outcome)
  }

  /** Where the pages of a view are. */
  async where(view: HeapView): Promise<Residency> {
    this.#checkOpen()
    const { start, end } = this.#allocations.partOf(view)
    const { array, runs } = await this.#send('where', { range: { start, end } })
    const elementBytes = 'BYTES_PER_ELEMENT' in view ? view.BYTES_PER_ELEMENT : 1
    return new Residency(array, runs, start % PAGE_SIZE, elementBytes, (end - start) / elementBytes)
  }

  /** What the heap holds, and what happened in it since it was opened. */
  async stats(): Promise<HeapStats> {
    this.#checkOpen()
    const live = [...this.#allocations.live]
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
    const { isAttached } = this.#sharing
    const { misuses } = await this.#send(isAttached ? 'detach' : 'close', {})
    if (isAttached) this.#arena.leave()
    await this.#whenGone()
    if (misuses.length > 0) throw errorOf({ code: 'NOT_OWNED', message: '', misuses })
    if (unfreed.length > 0 && this.#unfreed === 'warn') this.#onNotice(`hetmem: ${describeUnfreed(unfreed)}`)
    if (unfreed.length > 0 && this.#unfreed === 'error') throw new HeapError('UNFREED', describeUnfreed(unfreed))
    return new CloseReceipt(unfreed)
  }

  // ---- helpers ----

  #alloc<T extends ArrayType>(
    type: T,
    length: number,
    options: AllocOptions,
    shown: { readonly file: OpenFile; readonly offset: number } | null = null,
  ): { array: ArrayOf<T>; allocation: Allocation; mapped: Promise<Failure | null> } {
    this.#checkOpen()
    checkArrayType(type)
    checkLength(length)
    checkNames(options, 'options', ['name', 'align', 'readOnly'])
    const id = this.#sharing.nextId()
    const { name = `${type.name} #${id}`, readOnly = false } = options
    if (typeof name !== 'string') throw new HeapTypeError(`name is ${describe(name)}, wanted a text`)
    if (typeof readOnly !== 'boolean')
      throw new HeapTypeError(`readOnly is ${describe(readOnly)}, wanted true or false`)
    const align = checkAlign(options.align ?? PAGE_SIZE)
    const nbytes = length * type.BYTES_PER_ELEMENT
    const what = `${type.name} "${name}" of ${length} elements`
    const place = this.#arena.alloc(Math.max(1, Math.ceil(nbytes / PAGE_SIZE)), align, what)
    const { segment, page, npages, nstale } = place
    const typeName = type.name as ArrayTypeName
    const allocation: Allocation = { id, name, type: typeName, length, nbytes, readOnly, segment, page, npages }
    const addr = allocationAddr(allocation)
    try {
      if (shown === null) this.#room?.take(addr, npages, what)
    } catch (error) {
      this.#arena.free(segment, page, npages)
      throw error
    }
    const file = shown === null ? null : fileOfArray(shown.file, shown.offset)
    const mapped = this.#map({ id, name, type: typeName, length, nbytes, readOnly, addr, npages, nstale, file })
    const array = makeArray(type, segment.buffer, page * PAGE_SIZE, length)
    this.#allocations.add(allocation, array)
    return { array, allocation, mapped }
  }

  /** The array can be used at once. Resolves with what was wrong when the engine has answered, or null. */
  #map(array: NewArray): Promise<Failure | null> {
    return new Promise((resolve) => {
      this.#port.call('map', array, (reply) => {
        if (!reply.ok) this.#onNotice(`hetmem: "${array.name}" was not mapped: ${reply.failure.message}`)
        resolve(reply.ok ? null : reply.failure)
      })
      this.#sharing.mapSent()
    })
  }

  /** The range is free for others when the engine says so: a launch may still use it. */
  #free(allocation: Allocation): void {
    this.#allocations.remove(allocation)
    const { id, segment, page, npages } = allocation
    const isShown = this.#shown.delete(allocation)
    if (!isShown) this.#room?.free(npages)
    this.#port.call('unmap', { id }, (reply) => {
      if (reply.ok) {
        if (!isShown) this.#room?.unmapped(allocationAddr(allocation), npages)
        this.#arena.free(segment, page, npages)
      } else this.#onNotice(`hetmem: freeing ${describeAllocation(allocation)} failed: ${reply.failure.message}`)
    })
  }

  /** An array that another thread's heap has allocated: the engine knows whether that is one, and tells who has its room. */
  #freeOthers({ name }: Allocation, { buffer, byteOffset, byteLength }: HeapView): void {
    const { start } = this.#allocations.partOf(new Uint8Array(buffer, byteOffset, byteLength))
    this.#port.call('unmapAt', { range: { start, end: start + byteLength } }, (reply) => {
      if (!reply.ok) this.#onNotice(`hetmem: freeing an ${name} failed: ${reply.failure.message}`)
    })
  }

  /** @internal Another thread has freed an array of this heap. */
  freedByOthers(id: number): void {
    const allocation = this.#allocations.get(id)
    if (allocation === undefined) return
    this.#allocations.remove(allocation)
    const { segment, page, npages } = allocation
    this.#room?.free(npages)
    this.#room?.unmapped(allocationAddr(allocation), npages)
    this.#arena.free(segment, page, npages)
  }

  /** Throws a HeapError BAD_FILE, or NOT_IN_MODE where there are no files. */
  #openFile(path: string | URL): OpenFile {
    const text = pathOf(path)
    if (text === undefined) throw new HeapTypeError(`path is ${describe(path)}, wanted a text or a file: URL`)
    if (this.#openPath === null)
      throw new HeapError('NOT_IN_MODE', `file ${JSON.stringify(text)}: there are no files here`)
    return this.#openPath(text)
  }

  #rangesOf(views: readonly HeapView[]): ByteRange[] {
    return views.map((view) => {
      const { start, end } = this.#allocations.partOf(view)
      return { start, end }
    })
  }

  #release(hold: number): Promise<null> {
    return this.#closing === null ? this.#send('release', { hold }) : Promise.resolve(null)
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

  #checkOpen(): void {
    if (this.#closing !== null) throw new HeapError('CLOSED', 'the heap was closed')
  }
}

/** Nobody else has a heap on the memory. */
class NotShared implements HeapSharing {
  readonly isAttached = false
  readonly #mode: HeapMode
  #lastId = 0

  constructor(mode: HeapMode) {
    this.#mode = mode
  }

  nextId(): number {
    return ++this.#lastId
  }

  mapSent(): void {}

  handle(): never {
    throw new HeapError('NOT_IN_MODE', `handle in ${this.#mode} mode: its heaps are for one thread`)
  }
}

/** The bytes of a view. */
function bytesOf({ buffer, byteOffset, byteLength }: HeapView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function checkAlign(align: Size): number {
  const nbytes = parseBytes(align, 'align')
  if (nbytes < 1 || nbytes > SEGMENT_BYTES_MAX || !Number.isInteger(Math.log2(nbytes))) {
    throw new HeapRangeError(`align is ${align}, wanted a power of two up to ${formatSize(SEGMENT_BYTES_MAX)}`)
  }
  return nbytes
}

function checkAccess(access: AccessOption): AccessOption {
  if (ACCESS_OPTIONS.includes(access)) return access
  const text = `access is ${describe(access)}, wanted one of ${ACCESS_OPTIONS.join(', ')}`
  throw typeof access === 'string' ? new HeapRangeError(text) : new HeapTypeError(text)
}
