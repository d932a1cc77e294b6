// The arguments of a kernel as WGSL declares them: the structs that they are made of, and the variables.

import type { ArrayArgument, KernelArguments } from './argument.ts'

/**
 * Declarations of structs, by name, but for those that the code declares itself. A struct that has no name of its own also goes
 * by the name of its argument with a capital letter.
 */
export function structsOf(args: KernelArguments, declared: ReadonlySet<string>): ReadonlyMap<string, string> {
  const structs = new Map<string, string>()
  for (const { type } of Object.values(args)) {
    for (const [name, text] of type.structs) {
      const known = structs.get(name)
      if (known !== undefined && known !== text) {
        throw new TypeError(`two structs are named ${name}: ${known} and ${text}`)
      }
      if (!declared.has(name)) structs.set(name, text)
    }
  }
  for (const [arg, { type }] of Object.entries(args)) {
    const alias = arg[0].toUpperCase() + arg.slice(1)
    if (!type.wgsl.startsWith('Struct_') || declared.has(alias) || structs.has(alias)) continue
    structs.set(alias, `alias ${alias} = ${type.wgsl};`)
  }
  return structs
}

/** What the code sees: arrays as they were declared, so that the front end finds stores to those that are only read. */
export function preludeOf(args: KernelArguments, declared: ReadonlySet<string>): string {
  const variables = Object.entries(args).map(([name, arg]) => {
    if (arg.kind === 'uniform') return `var<uniform> ${name}: ${arg.type.wgsl};`
    return `var<storage, ${arg.access === 'read' ? 'read' : 'read_write'}> ${name}: ${arrayOf(arg)};`
  })
  return [...structsOf(args, declared).values(), ...variables].join('\n')
}

/** The WGSL type of an array argument. */
export function arrayOf({ type }: ArrayArgument): string {
  return `array<${type.wgsl}>`
}
