// Finds out afterwards what nobody trapped: accesses of the CPU to pages that are not its own.
//
//   taken    the page belongs to a device. Its contents are put aside, and in its place the program sees a pattern: a store
//            breaks it, and a load gets a value that says whose it is. All eight bytes of two neighbouring words are NaN to a
//            Float64Array, each word is NaN to a Float32Array, and whatever is computed from a NaN carries it on.
//   sealed   the CPU may read the page and devices have copies of it. Checksums of 256 bytes each tell where a store was.
//
// Both are verified when the page changes hands and whenever `verify` is called. A load leaves no trace of its own, so
// `scan` looks for the pattern in pages that the CPU may write: what was loaded and kept there shows where it came from.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import type { HeapMemory } from './heap-memory.ts'

/** What elements there are in a page: floating-point numbers carry the pattern through computations and conversions. */
export const ELEMENT_KINDS = ['float32', 'float64', 'other'] as const
export type ElementKind = (typeof ELEMENT_KINDS)[number]

/** Gives the number that the pattern in place of a page carries, 1 to TAG_MAX: that of the page's owner. */
export type TagOf = (pfn: Pfn) => number

/** What the CPU did: stored to a page on a device, stored to a page that devices share, loaded from a page on a device. */
export const MISUSES = ['store-away', 'store-shared', 'load-away'] as const
export type Misuse = (typeof MISUSES)[number]

export interface Finding {
  readonly misuse: Misuse
  /** Bytes of the heap: where the store was, or where what was loaded is kept now. In whole words. */
  readonly start: number
  /** Exclusive. */
  end: number
  /** Whose page it was loaded from, for 'load-away'; else 0. */
  readonly tag: number
}

export const TAG_MAX = 0x7fffe // the highest, 0x7ffff, is that of an Int32Array full of 2^31 - 1

const PATTERN = 0x7ff8_0000
const TAG_MASK = 0x7_ffff
const PAGE_WORDS = PAGE_SIZE / 4

/** Words that one checksum is for. */
const BLOCK_WORDS = 64
const BLOCK_BYTES = 4 * BLOCK_WORDS
const BLOCKS = PAGE_WORDS / BLOCK_WORDS

const SLAB_PAGES = 256 // 1 MiB

// What is known of a page, in `#marks`.
const TAKEN = 1
const SEALED = 2

export class PageGuard {
  readonly #memory: HeapMemory
  readonly #tagOf: TagOf
  readonly #onStore: (pfn: Pfn) => void
  readonly #marks: Uint8Array
  /** Of a taken page: where its contents are, -1 for nowhere. Of a sealed page: where its checksums are. */
  readonly #slots: Int32Array
  /** The word that a taken page is full of. */
  readonly #patterns = new Map<Pfn, number>()
  readonly #contents = new Slots()
  readonly #checksums = new Slots()
  #slabs: Uint8Array[] = []
  #sums = new Int32Array(0)
  /** Tags that a pattern ever carried. */
  readonly #tags = new Set<number>()
  #findings: Finding[] = []
  #nguarded = 0
  /** False while pages are freed: nobody will have what is taken then, so nothing is put in its place. */
  isActive = true
  /** Where the next partial verification begins. */
  #cursor = 0

  /** `onStore` is called for pages that devices share and that were stored to all the same: their copies are old. */
  constructor(memory: HeapMemory, nframes: number, tagOf: TagOf, onStore: (pfn: Pfn) => void) {
    this.#memory = memory
    this.#tagOf = tagOf
    this.#onStore = onStore
    this.#marks = new Uint8Array(nframes)
    this.#slots = new Int32Array(nframes)
  }

  /** Pages that the CPU does not own. */
  get nguarded(): number {
    return this.#nguarded
  }

  /** True once a pattern was put anywhere: before, none can be found. */
  get hasTaken(): boolean {
    return this.#tags.size > 0
  }

  isTaken(pfn: Pfn): boolean {
    return this.#marks[pfn] === TAKEN
  }

  // ---- changing hands ----

  /** The CPU loses a page that it could access. */
  take(pfn: Pfn): void {
    if (this.#marks[pfn] === TAKEN) return
    this.unseal(pfn)
    if (!this.isActive) return
    this.#makeContents(pfn).set(this.#memory.bytes(pfn))
    const tag = this.#tagOf(pfn)
    assert(tag >= 1 && tag <= TAG_MAX, () => `tag ${tag} of frame ${pfn}`)
    this.#tags.add(tag)
    this.#patterns.set(pfn, PATTERN | tag)
    this.#marks[pfn] = TAKEN
    this.#nguarded++
    this.#fill(pfn)
  }

  /** The CPU gets a page back, with its contents. */
  give(pfn: Pfn): void {
    if (this.#marks[pfn] !== TAKEN) return
    this.#verifyTaken(pfn)
    this.#memory.bytes(pfn).set(this.bytes(pfn))
    this.#forgetTaken(pfn)
  }

  /** From now on the CPU may only read the page. */
  seal(pfn: Pfn): void {
    if (this.#marks[pfn] !== 0) return
    const slot = this.#checksums.take()
    if (slot * BLOCKS >= this.#sums.length) {
      const grown = new Int32Array(Math.max(1024 * BLOCKS, 2 * this.#sums.length))
      grown.set(this.#sums)
      this.#sums = grown
    }
    this.#slots[pfn] = slot
    this.#marks[pfn] = SEALED
    this.#nguarded++
    this.#writeChecksums(pfn)
  }

  /** The CPU may write the page again, or loses it. */
  unseal(pfn: Pfn): void {
    if (this.#marks[pfn] !== SEALED) return
    this.#verifySealed(pfn)
    this.#checksums.giveBack(this.#slots[pfn])
    this.#marks[pfn] = 0
    this.#nguarded--
  }

  /** The contents of a taken page. */
  bytes(pfn: Pfn): Uint8Array {
    assert(this.#marks[pfn] === TAKEN, () => `frame ${pfn} is taken`)
    const slot = this.#slots[pfn]
    return slot < 0 ? this.#makeContents(pfn) : this.#contentsAt(slot)
  }

  /** The frame of a taken page is free: what was in it is gone, the program goes on seeing the pattern. */
  drop(pfn: Pfn): void {
    if (this.#marks[pfn] !== TAKEN || this.#slots[pfn] < 0) return
    this.#contents.giveBack(this.#slots[pfn])
    this.#slots[pfn] = -1
  }

  /** Whoever had the page has it no more: the program sees it as if nothing had been. */
  reset(pfn: Pfn): void {
    this.unseal(pfn)
    if (this.#marks[pfn] !== TAKEN) return
    this.#verifyTaken(pfn)
    this.#forgetTaken(pfn)
  }

  // ---- looking ----

  /** Looks at all guarded pages of `[from, to)`. What is found is mended: the next look finds what happened since. */
  verify(from: Pfn, to: Pfn): void {
    const marks = this.#marks
    if (this.#nguarded === 0) return
    for (let pfn = from; pfn < to; pfn++) if (marks[pfn] !== 0) this.#verifyPage(pfn)
  }

  /** Looks at up to `npages` guarded pages, wherever they are, and goes on there the next time. */
  verifySome(npages: number): void {
    const left = Math.min(npages, this.#nguarded)
    if (left === 0) return
    let done = 0
    for (const segment of [...this.#memory.segments, ...this.#memory.segments]) {
      for (let pfn = Math.max(segment.pfn, this.#cursor); pfn < segment.endPfn; pfn++) {
        if (this.#marks[pfn] === 0) continue
        this.#verifyPage(pfn)
        done++
        if (done === left) {
          this.#cursor = pfn + 1
          return
        }
      }
      if (segment === this.#memory.segments.at(-1)) this.#cursor = 0
    }
  }

  /** Looks for patterns in the pages of `[from, to)` that the CPU may write. */
  scan(from: Pfn, to: Pfn, kind: ElementKind): void {
    if (this.#tags.size === 0) return
    for (let pfn = from; pfn < to; pfn++) if (this.#marks[pfn] === 0) this.#scanPage(pfn, kind)
  }

  /** What was found since the last call. */
  takeFindings(): Finding[] {
    const found = this.#findings
    this.#findings = []
    return found
  }

  // ---- taken pages ----

  #fill(pfn: Pfn): void {
    const { words, pfn: first } = this.#memory.get(pfn)
    const at = (pfn - first) * PAGE_WORDS
    words.fill(this.#patternOf(pfn), at, at + PAGE_WORDS)
  }

  #patternOf(pfn: Pfn): number {
    return this.#patterns.get(pfn) as number
  }

  #forgetTaken(pfn: Pfn): void {
    this.drop(pfn)
    this.#patterns.delete(pfn)
    this.#marks[pfn] = 0
    this.#nguarded--
  }

  #makeContents(pfn: Pfn): Uint8Array {
    const slot = this.#contents.take()
    if (slot >= this.#slabs.length * SLAB_PAGES) this.#slabs.push(new Uint8Array(SLAB_PAGES * PAGE_SIZE))
    this.#slots[pfn] = slot
    return this.#contentsAt(slot)
  }

  #contentsAt(slot: number): Uint8Array {
    const at = (slot % SLAB_PAGES) * PAGE_SIZE
    return this.#slabs[Math.floor(slot / SLAB_PAGES)].subarray(at, at + PAGE_SIZE)
  }

  #verifyTaken(pfn: Pfn): void {
    const { words, pfn: first } = this.#memory.get(pfn)
    const base = (pfn - first) * PAGE_WORDS
    const pattern = this.#patternOf(pfn)
    let even = 0
    let odd = 0
    for (let i = base; i < base + PAGE_WORDS; i += 2) {
      even |= words[i] ^ pattern
      odd |= words[i + 1] ^ pattern
    }
    if ((even | odd) === 0) return
    const isBroken = (i: number) => words[base + i] !== pattern
    this.#report('store-away', pfn, PAGE_WORDS, 4, isBroken)
    this.#fill(pfn)
  }

  // ---- sealed pages ----

  #writeChecksums(pfn: Pfn): void {
    const { words, pfn: first } = this.#memory.get(pfn)
    checksums(words, (pfn - first) * PAGE_WORDS, this.#sums, this.#slots[pfn] * BLOCKS)
  }

  #verifySealed(pfn: Pfn): void {
    const { words, pfn: first } = this.#memory.get(pfn)
    const sums = this.#sums
    const at = this.#slots[pfn] * BLOCKS
    checksums(words, (pfn - first) * PAGE_WORDS, now, 0)
    let broken = 0
    for (let i = 0; i < BLOCKS; i++) broken |= now[i] ^ sums[at + i]
    if (broken === 0) return
    const isBroken = (i: number) => now[i] !== sums[at + i]
    this.#report('store-shared', pfn, BLOCKS, BLOCK_BYTES, isBroken)
    this.#onStore(pfn)
    sums.set(now, at)
  }

  #verifyPage(pfn: Pfn): void {
    if (this.#marks[pfn] === TAKEN) this.#verifyTaken(pfn)
    else this.#verifySealed(pfn)
  }

  // ---- patterns elsewhere ----

  #scanPage(pfn: Pfn, kind: ElementKind): void {
    const { words, pfn: first } = this.#memory.get(pfn)
    const base = (pfn - first) * PAGE_WORDS
    let previous = 0
    for (let i = 0; i < PAGE_WORDS; i++) {
      const word = words[base + i]
      // Nearly every word ends here: a word of a pattern has a byte 0x7f or, with its sign changed, 0xff.
      if (hasByte7f(word & 0x7f7f_7f7f)) {
        const tag = this.#tagIn(kind, previous, word, i)
        const end = pfn * PAGE_SIZE + 4 * (i + 1)
        if (tag > 0) this.#reportLoad(kind === 'float32' ? end - 4 : end - 8, end, tag)
      }
      previous = word
    }
  }

  /** The tag of the pattern that a word belongs to, 0 for none. `index` is that of the word in the page. */
  #tagIn(kind: ElementKind, previous: number, word: number, index: number): number {
    if (kind === 'float32') return this.#known(word) || this.#knownNarrowed(word)
    if (kind === 'float64') return index % 2 === 1 ? this.#known(word) || this.#knownWidened(previous, word) : 0
    // Whole numbers are what they are, so one word might be a coincidence. Two are not, whichever byte they begin at.
    if (word !== previous || index === 0) return 0
    for (let bits = 0; bits < 32; bits += 8) {
      const tag = this.#known((word << bits) | (bits === 0 ? 0 : word >>> (32 - bits)))
      if (tag > 0) return tag
    }
    return 0
  }

  #known(word: number): number {
    return (word & PATTERN) === PATTERN && this.#tags.has(word & TAG_MASK) ? word & TAG_MASK : 0
  }

  /** A Float64Array's pattern as a 32-bit float: its upper 22 payload bits, which are the tag and three bits of the next word. */
  #knownNarrowed(word: number): number {
    if ((word & 0x7fc0_0007) !== 0x7fc0_0003) return 0
    const tag = (word >>> 3) & TAG_MASK
    return this.#tags.has(tag) ? tag : 0
  }

  /** A Float32Array's pattern as a 64-bit float. */
  #knownWidened(low: number, high: number): number {
    if ((high & 0x7fff_0000) !== 0x7fff_0000 || (low & 0x1fff_ffff) !== 0) return 0
    const tag = ((high & 0xffff) << 3) | (low >>> 29)
    return this.#tags.has(tag) ? tag : 0
  }

  // ---- findings ----

  /** Reports bytes with a pattern; what adjoins the last ones is one finding with them. */
  #reportLoad(start: number, end: number, tag: number): void {
    const last = this.#findings.at(-1)
    if (last?.misuse === 'load-away' && last.tag === tag && last.end >= start) last.end = end
    else this.#findings.push({ misuse: 'load-away', start, end, tag })
  }

  /** Reports each run of broken pieces of a page. */
  #report(misuse: Misuse, pfn: Pfn, npieces: number, nbytes: number, isBroken: (piece: number) => boolean): void {
    const base = pfn * PAGE_SIZE
    for (let i = 0; i < npieces; i++) {
      if (!isBroken(i)) continue
      const start = i
      while (i < npieces && isBroken(i)) i++
      this.#findings.push({ misuse, start: base + start * nbytes, end: base + i * nbytes, tag: 0 })
    }
  }
}

/** Numbers from 0 up: the lowest that nobody has, or one that was given back. */
class Slots {
  readonly #free: number[] = []
  #end = 0

  take(): number {
    return this.#free.pop() ?? this.#end++
  }

  giveBack(slot: number): void {
    this.#free.push(slot)
  }
}

const now = new Int32Array(BLOCKS)

/** One checksum per block of a page. A single changed word always changes it: each step is a bijection. */
function checksums(words: Int32Array, base: number, out: Int32Array, outBase: number): void {
  // Four blocks side by side, as each step waits for the one before.
  for (let block = 0; block < BLOCKS; block += 4) {
    const at = base + block * BLOCK_WORDS
    let a = 1
    let b = 2
    let c = 3
    let d = 4
    for (let i = at; i < at + BLOCK_WORDS; i++) {
      a = Math.imul(a ^ words[i], 0x9e37_79b1)
      b = Math.imul(b ^ words[i + BLOCK_WORDS], 0x9e37_79b1)
      c = Math.imul(c ^ words[i + 2 * BLOCK_WORDS], 0x9e37_79b1)
      d = Math.imul(d ^ words[i + 3 * BLOCK_WORDS], 0x9e37_79b1)
      // The product moves low bits up, this brings high bits down.
      a ^= a >>> 15
      b ^= b >>> 15
      c ^= c >>> 15
      d ^= d >>> 15
    }
    out[outBase + block] = a
    out[outBase + block + 1] = b
    out[outBase + block + 2] = c
    out[outBase + block + 3] = d
  }
}

/** Some byte is 0x7f; the high bits of all bytes are 0. */
function hasByte7f(word: number): boolean {
  return ((word + 0x0101_0101) & 0x8080_8080) !== 0
}
