// The numbers against the kernel's own headers, as the C compiler of this machine sees them: for this processor, and for arm64 what
// it has of its own. Headers are often older than the kernel; what they lack is not compared, and counted.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_NONBLOCK,
} from '../../src/mmu/userfaultfd/ffi.ts'
import * as mman from '../../src/uapi/mman.ts'
import * as userfaultfd from '../../src/uapi/userfaultfd.ts'

const HEADERS = [
  'fcntl.h',
  'linux/userfaultfd.h',
  'linux/fs.h',
  'linux/falloc.h',
  'sys/mman.h',
  'linux/mman.h',
  'sys/syscall.h',
]

/** Names that are ours. */
const OURS = ['SYS_USERFAULTFD_X86_64', 'SYS_USERFAULTFD_ARM64']

/** By their names in C. */
const NUMBERS: Readonly<Record<string, number>> = {
  ...numbersOf(mman),
  ...numbersOf(userfaultfd),
  ...{ FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MFD_CLOEXEC, O_CLOEXEC, O_NONBLOCK },
}

/** Structs of C by the names of their layouts, which have the fields in other words. */
const SIZES: Readonly<Record<string, number>> = {
  'struct uffd_msg': userfaultfd.UFFD_MSG_LAYOUT.size,
  'struct uffdio_api': userfaultfd.UFFDIO_API_LAYOUT.size,
  'struct uffdio_range': userfaultfd.UFFDIO_RANGE_LAYOUT.size,
  'struct uffdio_register': userfaultfd.UFFDIO_REGISTER_LAYOUT.size,
  'struct uffdio_copy': userfaultfd.UFFDIO_COPY_LAYOUT.size,
  'struct uffdio_zeropage': userfaultfd.UFFDIO_ZEROPAGE_LAYOUT.size,
  'struct uffdio_writeprotect': userfaultfd.UFFDIO_WRITEPROTECT_LAYOUT.size,
  'struct uffdio_continue': userfaultfd.UFFDIO_CONTINUE_LAYOUT.size,
}
const OFFSETS: Readonly<Record<string, number>> = {
  'struct uffd_msg, arg.pagefault.flags': userfaultfd.UFFD_MSG_LAYOUT.flags,
  'struct uffd_msg, arg.pagefault.address': userfaultfd.UFFD_MSG_LAYOUT.address,
  'struct uffd_msg, arg.pagefault.feat.ptid': userfaultfd.UFFD_MSG_LAYOUT.threadId,
  'struct uffdio_register, mode': userfaultfd.UFFDIO_REGISTER_LAYOUT.mode,
  'struct uffdio_copy, copy': userfaultfd.UFFDIO_COPY_LAYOUT.copy,
  'struct uffdio_writeprotect, mode': userfaultfd.UFFDIO_WRITEPROTECT_LAYOUT.mode,
  'struct uffdio_continue, mapped': userfaultfd.UFFDIO_CONTINUE_LAYOUT.mapped,
}

function numbersOf(module: object): Record<string, number> {
  const entries = Object.entries(module).filter(([name, value]) => typeof value === 'number' && !OURS.includes(name))
  return Object.fromEntries(entries) as Record<string, number>
}

/** What `cc` makes of a program; null where there is none, or not these headers. */
function compileAndRun(source: string): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-test-'))
  try {
    writeFileSync(join(folder, 'program.c'), source)
    execFileSync('cc', ['-w', '-o', join(folder, 'program'), join(folder, 'program.c')], { stdio: 'pipe' })
    return execFileSync(join(folder, 'program'), { encoding: 'utf8' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function parse(output: string): Record<string, number> {
  return Object.fromEntries(
    output
      .trim()
      .split('\n')
      .map((line) => line.split(' = '))
      .map(([name, value]) => [name, Number(value)]),
  )
}

describe('numbers shared with the kernel', () => {
  it('are those of the headers', (test) => {
    const lines = [
      ...Object.keys(NUMBERS).map(
        (name) => `#ifdef ${name}\n  printf("${name} = %llu\\n", (unsigned long long)(${name}));\n#endif`,
      ),
      '#ifdef UFFDIO_CONTINUE',
      ...Object.keys(SIZES).map((name) => `  printf("${name} = %zu\\n", sizeof(${name}));`),
      ...Object.keys(OFFSETS).map((name) => `  printf("${name} = %zu\\n", offsetof(${name}));`),
      '#endif',
      '  printf("SYS_userfaultfd = %d\\n", SYS_userfaultfd);',
    ]
    const includes = HEADERS.map((name) => `#include <${name}>`).join('\n')
    const source = `#define _GNU_SOURCE\n#include <stdio.h>\n#include <stddef.h>\n${includes}\nint main(void)\n{\n${lines.join('\n')}\n  return 0;\n}\n`
    const output = process.platform === 'linux' ? compileAndRun(source) : null
    if (output === null) test.skip('a C compiler and the headers of Linux: there is nothing to compare with')
    const { SYS_userfaultfd, ...found } = parse(`${output}`)
    const wanted = { ...NUMBERS, ...SIZES, ...OFFSETS }
    // Numbers of C are unsigned here, those of bit operators in JavaScript signed.
    expect(found).toEqual(Object.fromEntries(Object.keys(found).map((name) => [name, wanted[name]])))
    const calls = { x64: userfaultfd.SYS_USERFAULTFD_X86_64, arm64: userfaultfd.SYS_USERFAULTFD_ARM64 }
    expect(SYS_userfaultfd).toBe(calls[process.arch as keyof typeof calls])
    // Headers of Linux 6.1 have all but what came later: two of ten ioctls, four of 17 features, PAGEMAP_SCAN.
    expect(Object.keys(found).length).toBeGreaterThan(70)
  })

  it('are those of arm64 too, whose system calls are the generic ones', (test) => {
    // <asm/unistd.h> of arm64 is <asm-generic/unistd.h>; mappings and flags of open are those of asm-generic for both.
    const source =
      '#include <stdio.h>\n#include <asm-generic/unistd.h>\nint main(void) { printf("call = %d\\n", __NR_userfaultfd); return 0; }\n'
    const output = process.platform === 'linux' ? compileAndRun(source) : null
    if (output === null) test.skip('a C compiler and the headers of Linux: there is nothing to compare with')
    expect(parse(`${output}`)['call']).toBe(userfaultfd.SYS_USERFAULTFD_ARM64)
    const generic =
      '#include <stdio.h>\n#include <asm-generic/fcntl.h>\n#include <asm-generic/mman.h>\nint main(void) { ' +
      'printf("O_CLOEXEC = %d\\nO_NONBLOCK = %d\\nMAP_NORESERVE = %d\\n", O_CLOEXEC, O_NONBLOCK, MAP_NORESERVE); return 0; }\n'
    expect(parse(compileAndRun(generic) ?? '')).toEqual({ O_CLOEXEC, O_NONBLOCK, MAP_NORESERVE: mman.MAP_NORESERVE })
  })
})
