import { expect, it } from 'vitest'
import { resultOf, runProgram } from '../../../test/helpers/child-program.ts'

it('an engine in a worker does what one on this thread does, keeps nobody alive, and says when it is gone', async () => {
  expect(resultOf(await runProgram('test/explicit/engine-in-worker.ts'))).toEqual({
    mode: 'explicit',
    taken: 'prefetch: 4 pages to the device, 16 KiB copied',
    where: '"x": 4 pages on memory',
    misuse: 'OwnershipError: NOT_OWNED: the CPU stored to "x"[5] while a device had them: await heap.sync(x) before',
    kept: 3,
    closed: 'close: every array was freed',
    events: expect.arrayContaining(['alloc', 'migration', 'free']),
    refused: 'ENGINE_DIED: the worker of the engine ended with code 1',
    failed: 'ENGINE_DIED: the worker of the engine failed: another program',
  })
})
