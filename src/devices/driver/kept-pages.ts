// The pages that a launch keeps on the device while it runs, and which of them go first when others need the room: those that were not used
// the longest. Most loads leave no trace, so what is used a lot is also known from being missed again soon after it was given up. As in
// Linux (mm/workingset.c), such a page is active, and active ones go last:
//
//   missed ──> inactive ──────────> given up ──missed again, before as many pages as fit were given up──> active
//                 ^                                                                                         │
//                 └───────────────────────── the oldest, when more than half of all is active ──────────────┘
//
// What is gone through once, however long it is, takes room from inactive pages alone. Pages of ranges that are small beside the device are
// active from the beginning: if they are used at all, they are used all the time.

export class KeptPages {
  /** Frame of each page. */
  readonly frames = new Map<number, number>()
  /** Pages that were added, taken or given other rights since somebody looked. */
  readonly changed = new Set<number>()
  private readonly capacity: number
  // The oldest first.
  private readonly inactive = new Set<number>()
  private readonly active = new Set<number>()
  private readonly writable = new Set<number>()
  private readonly vpns = new Map<number, number>()
  /** When a page was given up, in pages given up before it. */
  private readonly givenUp = new Map<number, number>()
  private ngivenUp = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.frames.size
  }

  isWritable(vpn: number): boolean {
    return this.writable.has(vpn)
  }

  wasGivenUp(vpn: number): boolean {
    return this.givenUp.has(vpn)
  }

  add(vpn: number, frame: number, isWrite: boolean, isSmall = false): void {
    this.frames.set(vpn, frame)
    this.vpns.set(frame, vpn)
    this.changed.add(vpn)
    if (isWrite) this.writable.add(vpn)
    const givenUp = this.givenUp.get(vpn)
    this.givenUp.delete(vpn)
    const isHot = isSmall || (givenUp !== undefined && this.ngivenUp - givenUp <= this.capacity)
    if (!isHot) {
      this.inactive.add(vpn)
      return
    }
    this.active.add(vpn)
    if (2 * this.active.size <= this.capacity) return
    const [oldest] = this.active
    this.active.delete(oldest)
    this.inactive.add(oldest)
  }

  /** Takes a page out. Returns its frame. */
  take(vpn: number): number {
    const frame = this.frames.get(vpn) ?? -1
    this.frames.delete(vpn)
    this.vpns.delete(frame)
    this.changed.add(vpn)
    this.writable.delete(vpn)
    this.inactive.delete(vpn)
    this.active.delete(vpn)
    return frame
  }

  /** A page was used: it goes after those that were not. Nothing happens for a frame that has none. */
  use(frame: number): void {
    const vpn = this.vpns.get(frame) ?? -1
    const list = this.active.has(vpn) ? this.active : this.inactive
    if (list.delete(vpn)) list.add(vpn)
  }

  /** Notes that a page that was taken had to go for others. */
  giveUp(vpn: number): void {
    this.givenUp.set(vpn, this.ngivenUp)
    this.ngivenUp++
  }

  /** Pages that go first, `count` of them or as many as there are that are not pinned. */
  first(count: number, pinned: ReadonlySet<number>): number[] {
    const found: number[] = []
    for (const list of [this.inactive, this.active]) {
      for (const vpn of list) {
        if (found.length >= count) return found
        if (!pinned.has(vpn)) found.push(vpn)
      }
    }
    return found
  }
}
