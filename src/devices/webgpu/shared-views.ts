// Dawn in Node takes the process down when `writeBuffer` or `writeTexture` is given memory that threads share, which is what heap arrays
// lie in. WebGPU allows it, so whoever was lent a device (with-buffer.ts) may do it: such data is copied into ordinary memory first.

type Data = ArrayBufferView<ArrayBufferLike> | ArrayBufferLike

const patched = new WeakSet<object>()

/** From now on all queues of this kind take shared memory. */
export function copySharedViews(queue: GPUQueue): void {
  // Where the methods are: some way up for a queue that somebody has wrapped, and nowhere for what only looks like one.
  let kind = Object.getPrototypeOf(queue) as GPUQueue | null
  while (kind !== null && !Object.hasOwn(kind, 'writeBuffer')) kind = Object.getPrototypeOf(kind) as GPUQueue | null
  if (kind === null || patched.has(kind)) return
  patched.add(kind)
  const { writeBuffer, writeTexture } = kind
  kind.writeBuffer = function (buffer, bufferOffset, data, dataOffset = 0, size) {
    if (!isShared(data)) return writeBuffer.call(this, buffer, bufferOffset, data, dataOffset, size)
    return writeBuffer.call(this, buffer, bufferOffset, copyOf(data, dataOffset, size))
  }
  kind.writeTexture = function (destination, data, ...rest) {
    return writeTexture.call(this, destination, isShared(data) ? copyOf(data, 0) : data, ...rest)
  }
}

function isShared(data: unknown): data is Data {
  const buffer = ArrayBuffer.isView(data) ? data.buffer : data
  return typeof SharedArrayBuffer === 'function' && buffer instanceof SharedArrayBuffer
}

/** A part, counted in elements of an array or in bytes, of which there may be less than wanted: then WebGPU says so. */
function copyOf(data: Data, first: number, count?: number): ArrayBuffer {
  const isView = ArrayBuffer.isView(data)
  const bytes = isView ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
  const unit = isView && 'BYTES_PER_ELEMENT' in data ? (data.BYTES_PER_ELEMENT as number) : 1
  const end = count === undefined ? bytes.length : unit * (first + count)
  if (first < 0 || unit * first > bytes.length || end > bytes.length) throw outside(first, count, bytes.length / unit)
  return new Uint8Array(bytes.subarray(unit * first, end)).buffer
}

function outside(first: number, count: number | undefined, length: number): Error {
  const what = `${count ?? 'all'} elements from ${first} on of data that has ${length}`
  return new DOMException(what, 'OperationError')
}
