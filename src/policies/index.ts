// Policies: pure functions from counters to a decision. What is asked and answered is in hmm/policy.ts.

export * from './default-policy.ts'
export * from './density.ts'
export * from './fault-around.ts'
export * from './lru-evict.ts'
export * from './placement.ts'
export * from './read-back.ts'
export * from './thrashing.ts'
