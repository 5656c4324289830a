import { TsbpfError } from "../base/error.ts";
import { suggest } from "../base/suggest.ts";
import type { Btf } from "../btf/decode.ts";
import type { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { findKernelSymbol, type KernelPlace, type KernelSymbol, openModuleBtf } from "./module-btf.ts";
import { vmlinuxBtf } from "./vmlinux.ts";

/**
 * Finds a kernel function that programs may call (kfunc, kernel 5.13), in the kernel or in a module that is loaded (5.16).
 *
 * @throws TsbpfError where neither has a function of that name; with the name of a kfunc that is like it.
 */
export function findKfunc(name: string, place?: KernelPlace): KernelSymbol {
  const found = findKernelSymbol(name, "func", place);
  if (found !== undefined) return found;
  throw new TsbpfError(`the running kernel has no function '${name}'`, {
    hint:
      suggest(name, kfuncNames(place?.vmlinux ?? vmlinuxBtf())) ??
      "Nor has a module that is loaded: if it is in one, load that (modprobe).",
  });
}

/** What the calls of kernel functions in one program have in them, and which modules that takes. */
export interface KfuncCalls {
  /** `imm` and `off` of a call: the function's BTF id, and where `fd_array` has the module; 0 for the kernel itself. */
  call(name: string): { readonly imm: number; readonly off: number };
  /** In the order of `fd_array`, from its index 1 on. */
  readonly modules: readonly string[];
}

/** Starts with a program. Each module gets the next place when a function of it is first called. */
export function createKfuncCalls(place?: KernelPlace): KfuncCalls {
  const modules: string[] = [];
  return {
    modules,
    call(name) {
      const { id, module } = findKfunc(name, place);
      if (module === undefined) return { imm: id, off: 0 };
      if (!modules.includes(module)) modules.push(module);
      return { imm: id, off: modules.indexOf(module) + 1 };
    },
  };
}

/** The `fd_array` of a load, for as long as the load takes. */
export interface ModuleFds extends Disposable {
  /** `undefined` where no module is needed. Its first place stands for the kernel. */
  readonly fdArray: Int32Array | undefined;
}

/** Opens the modules that a program calls. Needs CAP_SYS_ADMIN. */
export function openModules(sys: Syscalls, modules: readonly string[]): ModuleFds {
  const fds: Fd[] = [];
  const close = (): void => {
    for (const fd of fds) fd.close();
  };
  try {
    for (const module of modules) fds.push(openModuleBtf(sys, module));
  } catch (error) {
    close();
    throw error;
  }
  const fdArray = fds.length === 0 ? undefined : Int32Array.of(0, ...fds.map(({ number }) => number));
  return { fdArray, [Symbol.dispose]: close };
}

/** Functions with the tag of kfuncs, which pahole 1.26 writes; before that nothing tells them from others. */
function kfuncNames(btf: Btf): string[] {
  const names: string[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kind(id) !== "declTag") continue;
    const tag = btf.type(id);
    if (tag.kind === "declTag" && tag.value === "bpf_kfunc") names.push(btf.name(tag.type));
  }
  return names;
}
