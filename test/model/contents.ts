// What every process must read, kept the simple way: no frames, no entries, no devices. A page of memory is two words (its
// first and its last, so that half a copy shows); private pages are values, shared ones belong to a file. Whatever mm does
// with a page in between, an access sees the last store.

/** The words of one page. Never changed, only replaced; a fork has the same one until either side stores. */
export class Content {
  readonly first: number
  readonly last: number
  /** The memory behind it broke: who has this very content may find the page gone. */
  poisoned = false

  constructor(first: number, last: number) {
    this.first = first
    this.last = last
  }
}

export const ZEROES: Content = Object.freeze(new Content(0, 0))

/** Something that can be mapped: a file, shared anonymous memory, frames of a driver. */
export class FileModel {
  /** Size in pages; beyond it an access is SIGBUS. */
  npages: number
  /** Counts the times that pages were taken away. */
  holes = 0
  private readonly pages = new Map<number, Content>()

  constructor(npages: number) {
    this.npages = npages
  }

  at(pgoff: number): Content {
    return this.pages.get(pgoff) ?? ZEROES
  }

  set(pgoff: number, content: Content): void {
    this.pages.set(pgoff, content)
  }

  /** The pages of `[from, to)` are zero again. */
  clear(from: number, to: number): void {
    this.holes++
    for (const pgoff of this.pages.keys()) if (pgoff >= from && pgoff < to) this.pages.delete(pgoff)
  }
}

/**
 * What kind of memory a page is.
 * - memory  anonymous or of a file in memory
 * - huge    the same from the pool of 2 MiB pages
 * - driver  pages that a driver mapped when the mapping was made: what is zapped does not come back
 * - frames  the same without page structures
 */
export type PageKind = 'memory' | 'huge' | 'driver' | 'frames'

/** One page of one process. */
export class PageModel {
  readonly kind: PageKind
  readonly shared: boolean
  /** What is mapped, null for private anonymous memory. */
  readonly file: FileModel | null
  readonly pgoff: number
  /** PROT_* bits. */
  prot: number
  /** The private copy; null while there is none. */
  own: Content | null = null
  /** MADV_FREE: the private copy may turn into zeroes until something is stored. */
  lazy = false
  /** A page that its driver mapped and that was zapped. */
  gone = false
  /** An access was last seen to end in broken memory; that lasts until the process unmaps the page or gives it up. */
  isBroken = false
  /** False once the process has unmapped it. */
  isMapped = true
  /** Counts the times that the private copy was given up. */
  losses = 0
  /** A huge page of a child: the parent may take it away when the pool is empty. */
  borrowed = false

  constructor(kind: PageKind, shared: boolean, file: FileModel | null, pgoff: number, prot: number) {
    this.kind = kind
    this.shared = shared
    this.file = file
    this.pgoff = pgoff
    this.prot = prot
  }

  get content(): Content {
    return this.own ?? this.file?.at(this.pgoff) ?? ZEROES
  }

  /** Nothing is there for an access: beyond the end of the file, or zapped. */
  get isMissing(): boolean {
    if (this.own !== null || this.file === null) return false
    return this.gone || this.pgoff >= this.file.npages
  }

  store(content: Content): void {
    this.lazy = false
    if (this.shared && this.file !== null) this.file.set(this.pgoff, content)
    else this.own = content
  }

  /** The private copy is gone, and what was behind it shows again. */
  lose(): void {
    this.own = null
    this.lazy = false
    this.isBroken = false
    this.losses++
  }

  /** The same page in a child, or, with another `pgoff`, the next one of a mapping that grows. */
  copy(): PageModel {
    const page = new PageModel(this.kind, this.shared, this.file, this.pgoff, this.prot)
    page.own = this.own
    page.lazy = this.lazy
    page.gone = this.gone
    page.isBroken = this.isBroken
    page.borrowed = this.borrowed
    return page
  }
}

/** The pages of one process by virtual page number. */
export type SpaceModel = Map<number, PageModel>

/** The process has the page no longer. */
export function unmapPage(space: SpaceModel, vpn: number): void {
  const page = space.get(vpn)
  if (page === undefined) return
  page.isMapped = false
  space.delete(vpn)
}

export function unmapPages(space: SpaceModel, vpn: number, npages: number): void {
  for (let i = 0; i < npages; i++) unmapPage(space, vpn + i)
}
