// A driver that answers from a recording, for tests of everything around the machine: replaying a recording on it is
// identical by construction, and a change to either side has to be found.

import type { ConformanceDriver } from '../drivers/driver.ts'
import type {
  EventRecord,
  Operation,
  OperationResult,
  ProcessState,
  RecordedOperation,
  Sequence,
  WatchRecord,
} from '../trace.ts'

export class RecordedDriver implements ConformanceDriver {
  private readonly ops: readonly RecordedOperation[]
  private next = 0
  private readonly current = new Map<number, ProcessState>()
  private shared: readonly string[] = []

  constructor(sequence: Sequence) {
    this.ops = sequence.ops
  }

  execute(op: Operation): OperationResult {
    const recorded = this.ops[this.next]
    if (op.op !== recorded.op) throw new Error(`asked for ${op.op}, recorded is ${recorded.op}`)
    this.next++
    if (op.op === 'exit-child') this.current.delete(1)
    for (const [number, state] of Object.entries(recorded.state ?? {})) this.current.set(Number(number), state)
    this.shared = recorded.same ?? this.shared
    return recorded.result
  }

  takeEvents(): EventRecord[] {
    return [...(this.ops[this.next - 1].events ?? [])]
  }

  takeWatchEvents(): WatchRecord[] {
    return [...(this.ops[this.next - 1].watch ?? [])]
  }

  states(): Map<number, ProcessState> {
    return this.current
  }

  same(): string[] {
    return [...this.shared]
  }

  validate(): void {}
}
