// The arrays of a heap: how they come, by which views they are known, and how they go. An array is the program's as soon as it has a
// place in the arena and room in memory; the engine hears of it by message and maps it before anything that is sent after that.

import { PAGE_SIZE } from '../base/addr.ts'
import { formatAddr } from '../base/assert.ts'
import { formatSize, type Size } from '../base/size.ts'
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
import type { ByteRange, Failure, NewArray } from './engine/protocol.ts'
import { fileOfArray, type OpenFile } from './files.ts'
import { HeapError, HeapRangeError, HeapTypeError } from './heap-error.ts'
import type { HeapSharing } from './heap-handle.ts'
import { checkNames, flag, parseBytes } from './option-checks.ts'
import type { OrderedPort } from './ordered-port.ts'
import type { Room } from './room.ts'
import { type Scope, Scopes } from './scope.ts'

/** A pointer to the memory of a heap: words of 4 bytes from its beginning. 0 points to nothing. */
export type Pointer = number

export interface HeapArraysSite {
  readonly arena: Arena
  readonly port: OrderedPort
  /** Null: there is always enough. */
  readonly room: Room | null
  readonly sharing: HeapSharing
  readonly onNotice: (text: string) => void
}

/** What an array shows. */
interface FilePlace {
  readonly file: OpenFile
  /** Bytes from the beginning of the file. */
  readonly offset: number
}

/** What an array is, what the program knows it by, and what became of mapping it. */
export interface NewAllocation<T extends ArrayType> {
  readonly array: ArrayOf<T>
  readonly allocation: Allocation
  /** Resolves with what was wrong when the engine has answered, or null. */
  readonly mapped: Promise<Failure | null>
}

export class HeapArrays {
  readonly allocations: Allocations
  readonly #site: HeapArraysSite
  readonly #scopes: Scopes
  /** Arrays that show files. */
  readonly #shown = new Set<Allocation>()
  #isOpen = true

  constructor(site: HeapArraysSite) {
    this.#site = site
    this.allocations = new Allocations(site.arena)
    this.#scopes = new Scopes({
      allocationOf: (view) => this.allocations.find(view),
      free: (allocation) => {
        if (this.#isOpen) this.release(allocation)
      },
    })
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Throws a HeapError CLOSED. */
  checkOpen(): void {
    if (!this.#isOpen) throw new HeapError('CLOSED', 'the heap was closed')
  }

  /** From now on what is left of them goes with the heap. */
  close(): void {
    this.#isOpen = false
  }

  /** Throws as `heap.alloc` says. */
  alloc<T extends ArrayType>(
    type: T,
    length: number,
    options: AllocOptions,
    shown: FilePlace | null = null,
  ): NewAllocation<T> {
    const fresh = this.#alloc(type, length, options, shown)
    this.#scopes.add(fresh.allocation)
    return fresh
  }

  free(array: HeapView): void {
    const allocation = this.allocations.wholeOf(array)
    if (isOthers(allocation)) this.#freeOthers(allocation, array)
    else this.#free(allocation)
  }

  /** Frees an array unless it is gone. */
  release(allocation: Allocation): void {
    if (this.allocations.isLive(allocation)) this.#free(allocation)
  }

  /** Another thread has freed an array of this heap, and the engine has given its pages up. */
  freedByOthers(id: number): void {
    const allocation = this.allocations.get(id)
    if (allocation !== undefined) this.#remove(allocation)()
  }

  scope<T>(body: (scope: Scope) => T): T {
    if (typeof body !== 'function') throw new HeapTypeError(`body is ${describe(body)}, wanted a function`)
    return this.#scopes.run((add) =>
      body({
        alloc: (type, length, options = {}) => {
          const { array, allocation } = this.#alloc(type, length, options, null)
          add(allocation)
          return array
        },
      }),
    )
  }

  ptr(view: HeapView): Pointer {
    const { start, allocation } = this.allocations.partOf(view)
    if (start % 4 === 0) return start / 4
    const offset = start - allocationAddr(allocation)
    throw new HeapRangeError(`view at byte ${offset} of "${allocation.name}", wanted a multiple of 4 for a pointer`)
  }

  view<T extends ArrayType>(type: T, pointer: Pointer, length: number): ArrayOf<T> {
    checkArrayType(type)
    checkLength(length)
    if (typeof pointer !== 'number') throw new HeapTypeError(`pointer is ${describe(pointer)}, wanted a number`)
    if (!Number.isInteger(pointer) || pointer < 0 || pointer > 0xffff_ffff) {
      throw new HeapRangeError(`pointer is ${pointer}, wanted a whole number below 2^32`)
    }
    if (pointer === 0) throw new HeapError('BAD_POINTER', 'pointer is 0, which points to nothing')
    const { allocation, start } = this.allocations.partAt(
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

  /** The array shows a file. */
  isShown(allocation: Allocation): boolean {
    return this.#shown.has(allocation)
  }

  rangesOf(views: readonly HeapView[]): ByteRange[] {
    return views.map((view) => {
      const { start, end } = this.allocations.partOf(view)
      return { start, end }
    })
  }

  #alloc<T extends ArrayType>(
    type: T,
    length: number,
    options: AllocOptions,
    shown: FilePlace | null,
  ): NewAllocation<T> {
    this.checkOpen()
    checkArrayType(type)
    checkLength(length)
    checkNames(options, 'options', ['name', 'align', 'readOnly'])
    const id = this.#site.sharing.nextId()
    const { name = `${type.name} #${id}` } = options
    if (typeof name !== 'string') throw new HeapTypeError(`name is ${describe(name)}, wanted a text`)
    const readOnly = flag(options.readOnly, 'readOnly', false)
    const align = checkAlign(options.align ?? PAGE_SIZE)
    const nbytes = length * type.BYTES_PER_ELEMENT
    const what = `${type.name} "${name}" of ${length} elements`
    const place = this.#site.arena.alloc(Math.max(1, Math.ceil(nbytes / PAGE_SIZE)), align, what)
    const { segment, page, npages, nstale } = place
    const typeName = type.name as ArrayTypeName
    const allocation: Allocation = { id, name, type: typeName, length, nbytes, readOnly, segment, page, npages }
    const addr = allocationAddr(allocation)
    try {
      if (shown === null) this.#site.room?.take(addr, npages, what)
    } catch (error) {
      this.#site.arena.free(segment, page, npages)
      throw error
    }
    const file = shown === null ? null : fileOfArray(shown.file, shown.offset)
    const mapped = this.#map({ id, name, type: typeName, length, nbytes, readOnly, addr, npages, nstale, file })
    const array = makeArray(type, segment.buffer, page * PAGE_SIZE, length)
    this.allocations.add(allocation, array)
    if (shown !== null) this.#shown.add(allocation)
    return { array, allocation, mapped }
  }

  /** The array can be used at once. Resolves with what was wrong when the engine has answered, or null. */
  #map(array: NewArray): Promise<Failure | null> {
    return new Promise((resolve) => {
      this.#site.port.call('map', array, (reply) => {
        if (!reply.ok) this.#site.onNotice(`hetmem: "${array.name}" was not mapped: ${reply.failure.message}`)
        resolve(reply.ok ? null : reply.failure)
      })
      this.#site.sharing.mapSent()
    })
  }

  /** The range is free for others when the engine says so: a launch may still use it. */
  #free(allocation: Allocation): void {
    const gone = this.#remove(allocation)
    this.#site.port.call('unmap', { id: allocation.id }, (reply) => {
      if (reply.ok) gone()
      else this.#site.onNotice(`hetmem: freeing ${describeAllocation(allocation)} failed: ${reply.failure.message}`)
    })
  }

  /** What is to be done when the engine has given the pages up is returned. */
  #remove(allocation: Allocation): () => void {
    const { segment, page, npages } = allocation
    const { arena, room } = this.#site
    this.allocations.remove(allocation)
    const ownRoom = this.#shown.delete(allocation) ? null : room
    ownRoom?.free(npages)
    return () => {
      ownRoom?.unmapped(allocationAddr(allocation), npages)
      arena.free(segment, page, npages)
    }
  }

  /** An array that another thread's heap has allocated: the engine knows whether that is one, and tells who has its room. */
  #freeOthers({ name }: Allocation, { buffer, byteOffset, byteLength }: HeapView): void {
    const { start } = this.allocations.partOf(new Uint8Array(buffer, byteOffset, byteLength))
    this.#site.port.call('unmapAt', { range: { start, end: start + byteLength } }, (reply) => {
      if (!reply.ok) this.#site.onNotice(`hetmem: freeing an ${name} failed: ${reply.failure.message}`)
    })
  }
}

function checkAlign(align: Size): number {
  const nbytes = parseBytes(align, 'align')
  if (nbytes < 1 || nbytes > SEGMENT_BYTES_MAX || !Number.isInteger(Math.log2(nbytes))) {
    throw new HeapRangeError(`align is ${align}, wanted a power of two up to ${formatSize(SEGMENT_BYTES_MAX)}`)
  }
  return nbytes
}
