import type { Btf } from "../btf/decode.ts";
import { enumValues, findType, type StructInfo, kernelStruct as structOf } from "../btf/lookup.ts";
import { moduleBtf, moduleNames } from "./module-btf.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/**
 * A struct (or union, or a typedef of either) of the running kernel, or of a module that is loaded, by name: where its fields
 * are. A program that is written with these offsets is right for the kernel that it is assembled on, without relocations.
 *
 * @throws BtfError if there is no such struct, UnsupportedError where the kernel was built without BTF.
 * @example
 * ```ts
 * const task = kernelStruct("task_struct");
 * const { offset } = task.field("pid");
 * const load = [call(bpf_get_current_task_btf), ldxw(r1, [r0, offset])];
 *
 * // what was renamed: whichever this kernel has (it is __state from 5.14 on)
 * const state = task.field(task.has("__state") ? "__state" : "state");
 * ```
 */
export function kernelStruct(name: string): StructInfo {
  return structOf(holder(name, STRUCTS) ?? vmlinuxBtf(), name);
}

/** Whether the running kernel, or a module that is loaded, has a struct (or union, or a typedef) of this name. */
export function hasKernelStruct(name: string): boolean {
  return holder(name, STRUCTS) !== undefined;
}

/**
 * The values of an enum of the running kernel, or of a module that is loaded, by name: `get` one, or ask whether it `has` it.
 *
 * @throws BtfError if there is no such enum, UnsupportedError where the kernel was built without BTF.
 * @example
 * ```ts
 * const open = kernelEnum("tcp_ca_state").get("TCP_CA_Open");
 * ```
 */
export function kernelEnum(name: string): ReadonlyMap<string, number | bigint> {
  return enumValues(holder(name, ENUMS) ?? vmlinuxBtf(), name);
}

/** The types of the kernel, or of the module, that has a struct (or union, or a typedef) of this name. */
export function structHolder(name: string): Btf | undefined {
  return holder(name, STRUCTS);
}

const STRUCTS = ["struct", "union", "typedef"] as const;
const ENUMS = ["enum", "enum64", "typedef"] as const;

/** The types that have the name: the kernel's, or those of the first module that does. */
function holder(name: string, kinds: typeof STRUCTS | typeof ENUMS): Btf | undefined {
  const has = (btf: Btf): boolean => kinds.some((kind) => findType(btf, kind, name) !== undefined);
  const kernel = vmlinuxBtf();
  if (has(kernel)) return kernel;
  for (const module of moduleNames()) {
    const btf = moduleBtf(module);
    if (has(btf)) return btf;
  }
  return undefined;
}
