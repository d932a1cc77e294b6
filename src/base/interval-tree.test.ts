import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionError } from './assert.ts'
import { type IntervalNode, IntervalTree } from './interval-tree.ts'

type Node = IntervalNode<number>

/** A list that is searched from end to end: what the tree has to agree with. */
class Model {
  nodes: Node[] = []

  insert(node: Node): void {
    const at = this.nodes.findIndex((other) => other.start > node.start)
    this.nodes.splice(at < 0 ? this.nodes.length : at, 0, node)
  }

  overlaps(start: number, last: number): Node[] {
    return this.nodes.filter((node) => node.start <= last && node.last >= start)
  }
}

interface Real {
  tree: IntervalTree<number>
  inserted: number
}

class Insert implements fc.Command<Model, Real> {
  readonly start: number
  readonly last: number
  constructor(start: number, length: number) {
    this.start = start
    this.last = start + length
  }
  check() {
    return true
  }
  run(model: Model, real: Real) {
    model.insert(real.tree.insert(this.start, this.last, real.inserted++))
    checkAll(model, real.tree)
  }
  toString() {
    return `insert(${this.start}, ${this.last})`
  }
}

class Remove implements fc.Command<Model, Real> {
  readonly index: number
  constructor(index: number) {
    this.index = index
  }
  check(model: Model) {
    return model.nodes.length > 0
  }
  run(model: Model, real: Real) {
    const [node] = model.nodes.splice(this.index % model.nodes.length, 1)
    real.tree.remove(node as Node)
    checkAll(model, real.tree)
  }
  toString() {
    return `remove(${this.index})`
  }
}

class Query implements fc.Command<Model, Real> {
  readonly start: number
  readonly last: number
  constructor(start: number, length: number) {
    this.start = start
    this.last = start + length
  }
  check() {
    return true
  }
  run(model: Model, real: Real) {
    const expected = model.overlaps(this.start, this.last)
    const stepped: Node[] = []
    let node = real.tree.first(this.start, this.last)
    while (node !== undefined) {
      stepped.push(node)
      node = real.tree.next(node, this.start, this.last)
    }
    const visited: Node[] = []
    real.tree.forEachOverlap(this.start, this.last, (found) => visited.push(found))
    expect(stepped.map(show)).toEqual(expected.map(show))
    expect(visited.map(show)).toEqual(expected.map(show))
  }
  toString() {
    return `query(${this.start}, ${this.last})`
  }
}

function show(node: Node): string {
  return `[${node.start}, ${node.last}] #${node.value}`
}

function checkAll(model: Model, tree: IntervalTree<number>): void {
  tree.validate()
  expect(tree.size).toBe(model.nodes.length)
  expect([...tree].map(show)).toEqual(model.nodes.map(show))
}

describe('IntervalTree', () => {
  it('agrees with a searched list under any sequence of insert, remove and query', () => {
    // Few starts, so that equal ones are common; lengths from one point to everything.
    const start = fc.nat(12)
    const length = fc.oneof(fc.constant(0), fc.nat(3), fc.nat(20))
    const commands = fc.commands(
      [
        fc.tuple(start, length).map(([s, n]) => new Insert(s, n)),
        fc.nat().map((index) => new Remove(index)),
        fc.tuple(start, length).map(([s, n]) => new Query(s, n)),
      ],
      { maxCommands: 60 },
    )
    fc.assert(
      fc.property(commands, (cmds) => {
        const model = new Model()
        fc.modelRun(() => ({ model, real: { tree: new IntervalTree<number>(), inserted: 0 } }), cmds)
      }),
      { numRuns: 200 },
    )
  })

  it('keeps insertion order among equal starts, whatever their ends', () => {
    const tree = new IntervalTree<string>()
    for (const [last, value] of [
      [9, 'a'],
      [5, 'b'],
      [7, 'c'],
      [5, 'd'],
    ] as const)
      tree.insert(5, last, value)
    tree.insert(4, 4, 'before')

    expect([...tree].map((node) => node.value)).toEqual(['before', 'a', 'b', 'c', 'd'])
  })

  it('treats both ends as inside', () => {
    const tree = new IntervalTree<string>()
    tree.insert(10, 20, 'x')

    expect(tree.first(20, 30)?.value).toBe('x')
    expect(tree.first(0, 10)?.value).toBe('x')
    expect(tree.first(21, 30)).toBeUndefined()
    expect(tree.first(0, 9)).toBeUndefined()
  })

  it('holds bounds above 2^53, as a subscription over a whole address space has', () => {
    const tree = new IntervalTree<string>()
    tree.insert(0, 2 ** 64 - 4097, 'all')
    tree.insert(0x1000, Infinity, 'rest')

    expect(tree.first(2 ** 63, 2 ** 63)?.value).toBe('all')
    tree.validate()
  })

  it('stays shallow when intervals arrive in ascending order', () => {
    const tree = new IntervalTree<number>()
    const count = 1 << 14
    for (let i = 0; i < count; i++) tree.insert(i * 10, i * 10 + 9, i)

    let depthMax = 0
    for (const node of tree) {
      let depth = 0
      for (let at: Node | undefined = node; at !== undefined; at = at.parent) depth++
      depthMax = Math.max(depthMax, depth)
    }

    expect(depthMax).toBeLessThan(4 * 14) // expected about 2 ln n = 19 on average
  })

  it('builds the same shape in every run', () => {
    const shapes = [0, 1].map(() => {
      const tree = new IntervalTree<number>()
      for (let i = 0; i < 50; i++) tree.insert((i * 37) % 50, 100, i)
      return [...tree].map((node) => node.parent?.value)
    })

    expect(shapes[0]).toEqual(shapes[1])
  })

  it('insert() asserts that the interval is not empty', () => {
    expect(() => new IntervalTree().insert(5, 4, null)).toThrow(AssertionError)
    expect(() => new IntervalTree().insert(Number.NaN, 4, null)).toThrow(AssertionError)
  })

  it('remove() and next() assert that the node is in this tree', () => {
    const tree = new IntervalTree<null>()
    const foreign = new IntervalTree<null>().insert(1, 2, null)
    const removed = tree.insert(1, 2, null)
    tree.remove(removed)

    for (const node of [foreign, removed]) {
      expect(() => tree.remove(node)).toThrow(AssertionError)
      expect(() => tree.next(node, 0, 9)).toThrow(AssertionError)
    }
  })

  it('remove() leaves start, last and value readable', () => {
    const tree = new IntervalTree<string>()
    const node = tree.insert(1, 2, 'x')
    tree.remove(node)

    expect([node.start, node.last, node.value, tree.size]).toEqual([1, 2, 'x', 0])
  })
})

describe('first() and next()', () => {
  it('allow removal of the current node when its successor was fetched before', () => {
    const tree = new IntervalTree<number>()
    for (let i = 0; i < 40; i++) tree.insert(i, i + 5, i)

    let node = tree.first(10, 19)
    while (node !== undefined) {
      const next = tree.next(node, 10, 19)
      tree.remove(node)
      node = next
    }

    tree.validate()
    expect([...tree].map((left) => left.value)).toEqual([
      0,
      1,
      2,
      3,
      4,
      ...Array.from({ length: 20 }, (_, i) => 20 + i),
    ])
  })
})

describe('forEachOverlap()', () => {
  it('allows removal of the current node', () => {
    const tree = new IntervalTree<number>()
    for (let i = 0; i < 20; i++) tree.insert(i, i, i)
    const visited: number[] = []

    tree.forEachOverlap(5, 9, (node) => {
      visited.push(node.value)
      tree.remove(node)
    })

    expect(visited).toEqual([5, 6, 7, 8, 9])
    expect(tree.size).toBe(15)
    tree.validate()
  })

  it('leaves out nodes that an earlier call removed and does not visit inserted ones', () => {
    const tree = new IntervalTree<string>()
    tree.insert(1, 1, 'a')
    const b = tree.insert(2, 2, 'b')
    tree.insert(3, 3, 'c')
    const visited: string[] = []

    tree.forEachOverlap(0, 9, (node) => {
      visited.push(node.value)
      if (node.value === 'a') {
        tree.remove(b)
        tree.insert(4, 4, 'd')
      }
    })

    expect(visited).toEqual(['a', 'c'])
  })
})
