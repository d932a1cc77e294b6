// Other threads of a page cannot join its heap: whoever asks how is told so.

import { openHeap } from 'hetmem'
import { report } from './report.ts'

await report(async () => {
  const heap = await openHeap({ mode: 'explicit' })
  try {
    return heap.handle.kind
  } catch (error) {
    return `${error}`
  } finally {
    await heap.close()
  }
})
