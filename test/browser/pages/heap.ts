// A heap in a page, with a device: pages go there and come back, and the check finds what the rule of explicit mode forbids.

import { OwnershipError, openHeap } from 'hetmem'
import { report } from './report.ts'

const PAGE_FLOATS = 1024

await report(async () => {
  const notices: string[] = []
  const device = { kind: 'memory', memory: '1 MiB' } as const
  const heap = await openHeap({ device, check: true, onNotice: (text) => notices.push(text) })
  const x = heap.alloc(Float32Array, 100 * PAGE_FLOATS, { name: 'x' })
  for (let i = 0; i < x.length; i++) x[i] = i

  const shared = `${await heap.prefetch(x)}`
  const readWhileShared = x[99_999]
  const taken = `${await heap.prefetch(x, { access: 'readWrite' })}`
  const where = `${await heap.where(x)}`
  const back = `${await heap.sync(x)}`
  const isWhole = x.every((value, i) => value === i)

  await heap.prefetch(x, { access: 'readWrite' })
  x[5] = 7
  const misuse = await heap.sync(x).then(
    () => 'nothing was found',
    (error: unknown) => (error instanceof OwnershipError ? error.message : `${error}`),
  )
  await heap.sync(x)
  const kept = [x[4], x[5], x[6]]
  heap.free(x)
  const closed = `${await heap.close()}`
  return {
    mode: heap.mode,
    notices,
    isolated: crossOriginIsolated,
    buffer: x.buffer.constructor.name,
    ...{ shared, readWhileShared, taken, where, back, isWhole, misuse, kept, closed },
  }
})
