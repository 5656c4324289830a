import { readdirSync, readFileSync } from "node:fs";
import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import { type Btf, decodeBtf } from "../btf/decode.ts";
import { enumValues, findType, type StructInfo, kernelStruct as structOf } from "../btf/lookup.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/** Where the kernel shows its own types and those of its modules, by name. */
const DIRECTORY = "/sys/kernel/btf";

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

/**
 * The types of a kernel module that is loaded (kernel 5.11), which go on from the kernel's own: look-ups find both.
 *
 * @throws TsbpfError where no module of that name is loaded, or it came without BTF; UnsupportedError where the kernel was
 * built without it.
 */
export function moduleBtf(name: string): Btf {
  return readModuleBtf(DIRECTORY, name, vmlinuxBtf());
}

/** {@link moduleBtf} of a directory. */
export function readModuleBtf(directory: string, name: string, base: Btf): Btf {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(`${directory}/${name}`);
  } catch (cause) {
    throw new TsbpfError(`the types of kernel module '${name}' are not there`, {
      hint:
        suggest(name, moduleNames(directory)) ?? "It is not loaded, is built in, or was built without BTF.",
      cause,
    });
  }
  return decodeBtf(bytes, { base });
}

/** The modules that show their types. */
export function moduleNames(directory: string = DIRECTORY): readonly string[] {
  return readdirSync(directory).filter((name) => name !== "vmlinux");
}

const STRUCTS = ["struct", "union", "typedef"] as const;
const ENUMS = ["enum", "enum64", "typedef"] as const;

/** The types that have the name: the kernel's, or those of the first module that does. */
function holder(name: string, kinds: typeof STRUCTS | typeof ENUMS): Btf | undefined {
  const has = (btf: Btf): boolean => kinds.some((kind) => findType(btf, kind, name) !== undefined);
  const kernel = vmlinuxBtf();
  if (has(kernel)) return kernel;
  for (const module of moduleNames()) {
    const btf = readModuleBtf(DIRECTORY, module, kernel);
    if (has(btf)) return btf;
  }
  return undefined;
}
