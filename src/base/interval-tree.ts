/**
 * A set of closed intervals that answers which of them overlap a range, in O(log n) per step.
 *
 * Follows the use of include/linux/interval_tree.h: notifier subscriptions and reverse mappings. The order is ascending
 * start, and insertion order where starts are equal, because the order of invalidation callbacks is visible. A treap:
 * ordered by start, a heap by a priority drawn from a fixed sequence (so runs repeat exactly), and every node knows
 * the greatest `last` below it. Bounds are only compared, so 2^64 - 1 rounded to a number or Infinity will do as `last`.
 */

import { AssertionError, assert } from './assert.ts'

/**
 * One interval in a tree. Made by insert(), and the handle for remove() and next().
 *
 *            subtreeLast = max(last, left.subtreeLast, right.subtreeLast)
 *           /                                                            \
 *   left: start <= this.start                              right: start >= this.start
 */
export class IntervalNode<T> {
  /** First number inside. */
  readonly start: number
  /** Last number inside, so an interval is never empty. */
  readonly last: number
  readonly value: T

  /** @internal The tree it is in, to catch handles that are used twice. */
  tree: IntervalTree<T> | undefined
  /** @internal Greater than or equal to the priority of both children. */
  readonly priority: number
  /** @internal Greatest `last` of this node and everything below. */
  subtreeLast: number
  /** @internal */
  parent: IntervalNode<T> | undefined
  /** @internal */
  left: IntervalNode<T> | undefined
  /** @internal */
  right: IntervalNode<T> | undefined

  /** @internal */
  constructor(tree: IntervalTree<T>, start: number, last: number, value: T, priority: number) {
    this.start = start
    this.last = last
    this.value = value
    this.tree = tree
    this.priority = priority
    this.subtreeLast = last
    this.parent = undefined
    this.left = undefined
    this.right = undefined
  }
}

export class IntervalTree<T> {
  #root: IntervalNode<T> | undefined = undefined
  #size = 0
  #random = 0x9e3779b9 // any number but 0

  /** Number of intervals. */
  get size(): number {
    return this.#size
  }

  /** Adds `[start, last]`, behind those with the same start. Needs start <= last. */
  insert(start: number, last: number, value: T): IntervalNode<T> {
    assert(start <= last, () => `interval tree: insert [${start}, ${last}], wanted start <= last`)
    const node = new IntervalNode(this, start, last, value, this.#nextPriority())
    this.#size++

    let parent: IntervalNode<T> | undefined
    let goesLeft = false
    for (let at = this.#root; at !== undefined; at = goesLeft ? at.left : at.right) {
      if (at.subtreeLast < last) at.subtreeLast = last
      goesLeft = start < at.start
      parent = at
    }
    node.parent = parent
    if (parent === undefined) this.#root = node
    else if (goesLeft) parent.left = node
    else parent.right = node

    while (node.parent !== undefined && node.parent.priority < node.priority) this.#rotateUp(node)
    return node
  }

  /** Takes a node out. It must be in this tree. Its start, last and value stay readable. */
  remove(node: IntervalNode<T>): void {
    assert(node.tree === this, () => `interval tree: remove [${node.start}, ${node.last}], which is not in this tree`)
    // Sink the node until one side is empty, then its other side takes its place.
    while (node.left !== undefined && node.right !== undefined) {
      this.#rotateUp(node.left.priority > node.right.priority ? node.left : node.right)
    }
    this.#replace(node, node.left ?? node.right)
    for (let at = node.parent; at !== undefined; at = at.parent) updateSubtreeLast(at)
    node.tree = undefined
    node.parent = undefined
    node.left = undefined
    node.right = undefined
    node.subtreeLast = node.last
    this.#size--
  }

  /**
   * The first interval in order that overlaps `[start, last]`. Goes on with next(); allocates nothing:
   *
   *     for (let node = tree.first(a, b); node !== undefined; node = tree.next(node, a, b)) { ... }
   *
   * To remove the current node in such a loop, fetch its successor first. Any other change ends the loop's validity;
   * use forEachOverlap() there.
   */
  first(start: number, last: number): IntervalNode<T> | undefined {
    return this.#root === undefined ? undefined : firstBelow(this.#root, start, last)
  }

  /** The interval after `node` in order that overlaps `[start, last]`. The node must be in this tree. */
  next(node: IntervalNode<T>, start: number, last: number): IntervalNode<T> | undefined {
    if (node.tree !== this) {
      throw new AssertionError(`interval tree: next of [${node.start}, ${node.last}], which is not in this tree`)
    }
    let at = node
    if (at.right !== undefined) {
      const found = firstBelow(at.right, start, last)
      if (found !== undefined) return found
    }
    for (let parent = at.parent; parent !== undefined; at = parent, parent = at.parent) {
      if (at === parent.right) continue
      if (parent.start > last) return undefined
      if (parent.last >= start) return parent
      if (parent.right !== undefined) {
        const found = firstBelow(parent.right, start, last)
        if (found !== undefined) return found
      }
    }
    return undefined
  }

  /**
   * Calls `visit` for each interval that overlaps `[start, last]`, in order.
   *
   * `visit` may change the tree. The intervals are collected before the first call: one that an earlier call removed is
   * left out, one that an earlier call inserted is not visited.
   */
  forEachOverlap(start: number, last: number, visit: (node: IntervalNode<T>) => void): void {
    const first = this.first(start, last)
    if (first === undefined) return
    const second = this.next(first, start, last)
    if (second === undefined) {
      visit(first) // the common case allocates nothing
      return
    }
    const found = [first]
    for (let node: IntervalNode<T> | undefined = second; node !== undefined; node = this.next(node, start, last)) {
      found.push(node)
    }
    for (const node of found) {
      if (node.tree === this) visit(node)
    }
  }

  /** All intervals in order. The tree must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<IntervalNode<T>> {
    for (let at = this.first(-Infinity, Infinity); at !== undefined; at = this.next(at, -Infinity, Infinity)) yield at
  }

  /** Throws unless the links, the order, the heap and every `subtreeLast` are right. Walks the whole tree. */
  validate(): void {
    const count = validateBelow(this, this.#root, undefined)
    assert(count === this.#size, () => `interval tree: ${count} nodes are linked, size says ${this.#size}`)
    let previous: IntervalNode<T> | undefined
    for (const node of this) {
      const before = previous
      assert(
        before === undefined || before.start <= node.start,
        () => `interval tree: ${node.start} after ${before?.start}`,
      )
      previous = node
    }
  }

  /** Marsaglia's xorshift with 13, 17, 5: period 2^32 - 1. */
  #nextPriority(): number {
    let x = this.#random
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#random = x
    return x
  }

  /**
   * Lifts a node over its parent and keeps the order.
   *
   *       parent            node
   *      /      \          /    \
   *    node      c   ->   a    parent
   *   /    \                  /      \
   *  a      b                b        c
   */
  #rotateUp(node: IntervalNode<T>): void {
    const parent = node.parent
    assert(parent !== undefined, 'interval tree: the root cannot be rotated up')
    this.#replace(parent, node)
    if (node === parent.left) {
      parent.left = node.right
      if (node.right !== undefined) node.right.parent = parent
      node.right = parent
    } else {
      parent.right = node.left
      if (node.left !== undefined) node.left.parent = parent
      node.left = parent
    }
    parent.parent = node
    node.subtreeLast = parent.subtreeLast // same nodes below as the parent had
    updateSubtreeLast(parent)
  }

  /** Hangs `child` where `node` hangs. The links of `node` itself stay. */
  #replace(node: IntervalNode<T>, child: IntervalNode<T> | undefined): void {
    const parent = node.parent
    if (child !== undefined) child.parent = parent
    if (parent === undefined) this.#root = child
    else if (parent.left === node) parent.left = child
    else parent.right = child
  }
}

function updateSubtreeLast<T>(node: IntervalNode<T>): void {
  let last = node.last
  if (node.left !== undefined && node.left.subtreeLast > last) last = node.left.subtreeLast
  if (node.right !== undefined && node.right.subtreeLast > last) last = node.right.subtreeLast
  node.subtreeLast = last
}

/** The first node in order, at or below `from`, that overlaps `[start, last]`. */
function firstBelow<T>(from: IntervalNode<T>, start: number, last: number): IntervalNode<T> | undefined {
  if (from.subtreeLast < start) return undefined
  let at = from
  for (;;) {
    if (at.left !== undefined && at.left.subtreeLast >= start) {
      // Something on the left reaches up to the range. If it begins too late, so does all that follows.
      at = at.left
      continue
    }
    if (at.start > last) return undefined
    if (at.last >= start) return at
    if (at.right === undefined || at.right.subtreeLast < start) return undefined
    at = at.right
  }
}

function validateBelow<T>(
  tree: IntervalTree<T>,
  node: IntervalNode<T> | undefined,
  parent: IntervalNode<T> | undefined,
): number {
  if (node === undefined) return 0
  const at = () => `interval tree: [${node.start}, ${node.last}]`
  assert(node.tree === tree, () => `${at()} belongs to another tree`)
  assert(node.parent === parent, () => `${at()} has a wrong parent`)
  assert(parent === undefined || parent.priority >= node.priority, () => `${at()} outranks its parent`)
  const count = 1 + validateBelow(tree, node.left, node) + validateBelow(tree, node.right, node)
  let last = node.last
  for (const child of [node.left, node.right]) {
    if (child !== undefined && child.subtreeLast > last) last = child.subtreeLast
  }
  assert(
    node.subtreeLast === last,
    () => `${at()} says ${node.subtreeLast} is the greatest last below it, but it is ${last}`,
  )
  return count
}
