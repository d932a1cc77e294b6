// Draws a heap array to a canvas: a kernel makes the picture, and it goes from the heap's buffer to the canvas without the CPU.

import { kernel, openHeap, u32, uniform, write } from 'hetmem'
import { report } from './report.ts'

// Rows of texture copies begin at multiples of 256 bytes.
const WIDTH = 64
const HEIGHT = 48

/** Red grows to the right, green downwards. */
const paint = kernel({
  name: 'paint',
  args: { pixels: write(u32), width: uniform(u32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let x = id.x % width;
      let y = id.x / width;
      pixels[id.x] = (4u * x) | ((5u * y) << 8) | (128u << 16) | (255u << 24);
    }`,
})

await report(async () => {
  const heap = await openHeap({ device: { memory: '1 MiB' }, onNotice: () => {} })
  const other = heap.alloc(Uint32Array, 5000, { name: 'other' }).fill(7)
  const pixels = heap.alloc(Uint32Array, WIDTH * HEIGHT, { name: 'pixels' })
  await heap.run(paint, { pixels, width: WIDTH }, WIDTH * HEIGHT)

  const canvas = document.createElement('canvas')
  canvas.width = WIDTH
  canvas.height = HEIGHT
  const seen = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!
  await heap.withBuffer(pixels, 'read', ({ device, buffer, offset }) => {
    const context = canvas.getContext('webgpu')!
    context.configure({ device, format: 'rgba8unorm', usage: GPUTextureUsage.COPY_DST, alphaMode: 'opaque' })
    const encoder = device.createCommandEncoder()
    encoder.copyBufferToTexture(
      { buffer, offset, bytesPerRow: 4 * WIDTH },
      { texture: context.getCurrentTexture() },
      { width: WIDTH, height: HEIGHT },
    )
    device.queue.submit([encoder.finish()])
    seen.drawImage(canvas, 0, 0) // in this task, as the canvas is empty in the next
  })
  const drawn = new Uint32Array(seen.getImageData(0, 0, WIDTH, HEIGHT).data.buffer)
  await heap.sync(pixels, other)
  const expected = (i: number) =>
    ((4 * (i % WIDTH)) | ((5 * Math.floor(i / WIDTH)) << 8) | (128 << 16) | (255 << 24)) >>> 0
  const result = {
    computed: pixels.findIndex((pixel, i) => pixel !== expected(i)),
    drawn: drawn.findIndex((pixel, i) => pixel !== expected(i)),
    untouched: other.every((value) => value === 7),
  }
  await heap.close()
  return result
})
