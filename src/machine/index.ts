// The simulated machine: start with machine.ts.

export { Machine, type MachineOptions } from './machine.ts'
export { MemoryFile } from './memory-file.ts'
export {
  ACCESS_OUT_OF_MEMORY,
  ACCESS_OUTCOMES,
  ACCESS_SEGV,
  ACCESS_SIGBUS,
  ACCESS_SIGBUS_POISON,
  ACCESS_WOULD_WAIT,
  type AccessOutcome,
  accessOutcome,
} from './page-fault.ts'
export { type MmapOptions, type MremapOptions, type PinnedPages, Process } from './process.ts'
export { type AccessReason, AccessSignal, WouldWait, whenReady } from './signals.ts'
