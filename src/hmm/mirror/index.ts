// The mirror layer of the 2015 HMM design: start reading at hmm-device.ts, or at README.md.

export * from './hmm-device.ts'
export * from './hmm-event.ts'
export * from './hmm-mirror.ts'
export * from './hmm-mirror-fault.ts'
export * from './hmm-notify.ts'
export * from './hmm-pt.ts'
export * from './hmm-pt-iter.ts'
export * from './hmm-pt-range.ts'
export * from './hmm-pte.ts'
export * from './validate.ts'
