// Asks the library what Linux has answered before: a sequence that was recorded on a 6.1 kernel with the kernel's own HMM test
// driver, done again on a simulated machine, operation by operation.
//
// `npm run conformance` does this with more than nine thousand sequences and with everything that can be seen. This is one of
// them, and shows what a recording is. A page table is a character per page: `t` nothing yet, `z` zero page, `w` writable, `D` on
// device 0. An event is what a notifier over the pages hears: process, what happens, from page, to page, whose doing.
//
// Prints:
//   mmap           _____________ttt
//   dev-read       _____________zzz
//   cpu-write      _____________wwz  0 CLEAR 13 14, 0 CLEAR 14 15
//   migrate-to-dev _____________DDD  0 MIGRATE 13 16 dev0, 0 MIGRATE 15 16 dev0
//   dev-write      _____________DDD
//   cpu-read       _____________www  0 MIGRATE 13 14 dev0, 0 MIGRATE 14 15 dev0, 0 MIGRATE 15 16 dev0
//   6 of 6 operations as on Linux

import {
  accessOutcome,
  DmirrorDevice,
  type DmirrorHandle,
  errnoName,
  Machine,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_MIGRATE,
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
  PAGE_SIZE,
} from 'hetmem/hmm'

type Event = readonly [process: number, event: string, start: number, end: number, owner: string]

interface Operation {
  readonly op: string
  readonly page: number
  readonly n: number
  readonly dev?: number
  /** Goes to the first page, value + i to page i of the operation. */
  readonly value?: number
  /** What the kernel answered, what the notifier heard, and the page table where it changed. */
  readonly result: object
  readonly events?: readonly Event[]
  readonly pte?: string
}

/** Sequence mvma-01115 of conformance/traces/linux-6.1, without what this example does not compare. */
const RECORDING: readonly Operation[] = [
  { op: 'mmap', page: 13, n: 3, result: { ret: 0 }, pte: '_____________ttt' },
  {
    op: 'dev-read',
    dev: 1,
    page: 13,
    n: 3,
    result: { cpages: 3, faults: 1, values: [0, 0, 0] },
    pte: '_____________zzz',
  },
  {
    op: 'cpu-write',
    page: 13,
    n: 2,
    value: 100,
    result: { status: ['ok', 'ok'] },
    events: [
      [0, 'CLEAR', 13, 14, ''],
      [0, 'CLEAR', 14, 15, ''],
    ],
    pte: '_____________wwz',
  },
  {
    op: 'migrate-to-dev',
    dev: 0,
    page: 13,
    n: 3,
    result: { cpages: 3, values: [100, 101, 0] },
    events: [
      [0, 'MIGRATE', 13, 16, 'dev0'],
      [0, 'MIGRATE', 15, 16, 'dev0'],
    ],
    pte: '_____________DDD',
  },
  { op: 'dev-write', dev: 0, page: 15, n: 1, value: 102, result: { cpages: 1, faults: 0 } },
  {
    op: 'cpu-read',
    page: 0,
    n: 16,
    result: { values: [...Array<string>(13).fill('segv'), 100, 101, 102] },
    events: [
      [0, 'MIGRATE', 13, 14, 'dev0'],
      [0, 'MIGRATE', 14, 15, 'dev0'],
      [0, 'MIGRATE', 15, 16, 'dev0'],
    ],
    pte: '_____________www',
  },
]

const BASE = 0x1000_0000_0000
const NPAGES = 16

// The state in which every recording begins: an empty process, with two devices open that mirror it, and a notifier.

const machine = new Machine()
const process = machine.createProcess()
const devices = [0, 1].map((number) => new DmirrorDevice(machine.sys, number, { kind: 'private' }))
const handles = devices.map((device) => device.open(process.mm) as DmirrorHandle)

const EVENT_NAMES = new Map([
  [MMU_NOTIFY_CLEAR, 'CLEAR'],
  [MMU_NOTIFY_MIGRATE, 'MIGRATE'],
])
let events: Event[] = []
mmuIntervalNotifierInsert(process.mm, BASE, NPAGES * PAGE_SIZE, {
  invalidate(notifier, { event, start, end, owner }, seq) {
    mmuIntervalSetSeq(notifier, seq)
    const device = devices.findIndex((each) => each.owner === owner)
    const [from, to] = [start, end].map((addr) => (addr - BASE) / PAGE_SIZE)
    events.push([0, EVENT_NAMES.get(event) ?? `${event}`, from, to, device < 0 ? '' : `dev${device}`])
    return true
  },
})

let identical = 0
for (const operation of RECORDING) {
  events = []
  const result = execute(operation)
  const pte = process.dumpPte(BASE, NPAGES, (owner) => devices.findIndex((each) => each.owner === owner))
  const isSame =
    JSON.stringify(result) === JSON.stringify(operation.result) &&
    JSON.stringify(events) === JSON.stringify(operation.events ?? []) &&
    pte === (operation.pte ?? pte)
  if (isSame) identical++
  const heard = events.map((event) => event.join(' ').trimEnd()).join(', ')
  console.log(`${operation.op.padEnd(14)} ${pte}  ${heard}${isSame ? '' : '  (not as on Linux)'}`.trimEnd())
}
console.log(`${identical} of ${RECORDING.length} operations as on Linux`)
if (identical < RECORDING.length) throw new Error('the machine does not do what Linux did')

/** Does one operation. What it answers has the form of a recording. */
function execute({ op, page, n, dev = 0, value = 0 }: Operation): object {
  const addr = BASE + page * PAGE_SIZE
  const handle = handles[dev]
  const buffer = new Uint8Array(n * PAGE_SIZE)
  const words = new Uint32Array(buffer.buffer)
  const wordOf = (i: number) => (i * PAGE_SIZE) / 4
  const pages = Array.from({ length: n }, (_, i) => i)
  switch (op) {
    case 'mmap':
      process.mmap({ addr, fixed: true, length: n * PAGE_SIZE, noreserve: true })
      return { ret: 0 }
    case 'cpu-read':
      return {
        values: pages.map((i) => {
          const word = process.tryLoad32(addr + i * PAGE_SIZE)
          return word < 0 ? accessOutcome(word) : word
        }),
      }
    case 'cpu-write':
      return { status: pages.map((i) => accessOutcome(process.tryStore32(addr + i * PAGE_SIZE, value + i))) }
    case 'dev-write': {
      for (const i of pages) words[wordOf(i)] = value + i
      const { ret, cpages, faults } = handle.write(addr, n, buffer)
      return ret === 0 ? { cpages, faults } : { errno: errnoName(ret) }
    }
    case 'dev-read': {
      const { ret, cpages, faults } = handle.read(addr, n, buffer)
      return ret === 0 ? { cpages, faults, values: pages.map((i) => words[wordOf(i)]) } : { errno: errnoName(ret) }
    }
    case 'migrate-to-dev': {
      const { ret, cpages } = handle.migrateToDev(addr, n, buffer)
      return ret === 0 ? { cpages, values: pages.map((i) => words[wordOf(i)]) } : { errno: errnoName(ret) }
    }
    default:
      throw new Error(`no operation ${op}`)
  }
}
