import type { DataDef } from "../asm/data-def.ts";
import type { DataSection } from "../asm/map-def.ts";
import { TsbpfError } from "../base/error.ts";
import type { Members, StructInput, StructValue } from "../btf/layout/index.ts";
import { encode } from "../btf/layout/layout.ts";
import { mapUpdateElem } from "../syscall/bpf-map.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import { BpfMap, type KernelOptions } from "./map.ts";
import type { MappedArray } from "./mapped-array.ts";

/** Variables as properties: to read one reads the memory that programs share, to assign writes it. */
export type Variables<
  M extends Members,
  Section extends DataSection = DataSection,
> = Section extends ".rodata" ? Readonly<StructValue<M>> : StructValue<M>;

/**
 * Global variables of programs, read and written by user space without a system call. A variable of up to 8 bytes is read and
 * written whole; a larger one, or several together, may be seen half written by the other side.
 *
 * @example
 * ```ts
 * const config = dataDef("app", ".rodata", struct("config", { limit: u32 }));
 * const state = dataDef("app", ".bss", struct("state", { packets: u64.asNumber }));
 *
 * using settings = GlobalData.create(config, { limit: 10 });
 * using counters = GlobalData.create(state);
 * console.log(settings.vars.limit, counters.vars.packets); // what programs that use them see, too
 * ```
 */
export class GlobalData<M extends Members = Members, Section extends DataSection = DataSection>
  implements Disposable
{
  /** The map that holds them, for {@link BpfProgram.load}, to pin it, for what the kernel tells about it. */
  readonly map: BpfMap<"array">;
  /** The variables. Constant in `.rodata`. */
  readonly vars: Variables<M, Section>;
  readonly #memory: MappedArray<unknown>;

  private constructor(def: DataDef<M, Section>, map: BpfMap<"array">) {
    this.map = map;
    this.#memory = map.mapped({ readOnly: def.section === ".rodata" });
    this.vars = variables(def, this.#memory);
  }

  /**
   * Creates the map of a section, with the values that its variables begin with. What is in `.rodata` is frozen with them;
   * other sections begin with zeros where none are given.
   *
   * @throws TsbpfError for a `.rodata` without values; LayoutError; SyscallError: EPERM without CAP_BPF, EINVAL before
   * kernel 5.5.
   */
  static create<M extends Members>(
    def: DataDef<M, ".rodata">,
    values: StructInput<M>,
    options?: KernelOptions,
  ): GlobalData<M, ".rodata">;
  static create<M extends Members>(
    def: DataDef<M, ".data" | ".bss">,
    values?: StructInput<M>,
    options?: KernelOptions,
  ): GlobalData<M, ".data" | ".bss">;
  static create<M extends Members>(
    def: DataDef<M>,
    values?: StructInput<M>,
    options: KernelOptions = {},
  ): GlobalData<M> {
    const { sys = linuxSyscalls() } = options;
    if (values === undefined && def.section === ".rodata") {
      throw new TsbpfError(`map '${def.name}' holds constants, and none are given`);
    }
    const map: BpfMap<"array"> = BpfMap.create<"array", number, unknown, undefined>(def, options);
    try {
      if (values !== undefined) {
        mapUpdateElem(sys, map.fd, new Uint8Array(4), encode(def.value, values as never));
      }
      if (def.section === ".rodata") map.freeze();
      return new GlobalData(def, map);
    } catch (error) {
      map.close();
      throw error;
    }
  }

  /**
   * Takes the variables of a pinned section, or of one that is open as a map, which it then owns.
   *
   * @throws TsbpfError when the map is not the one that the definition describes; SyscallError: ENOENT.
   */
  static open<M extends Members, Section extends DataSection>(
    def: DataDef<M, Section>,
    from: string | BpfMap<"array">,
    options: KernelOptions = {},
  ): GlobalData<M, Section> {
    const map: BpfMap<"array"> =
      typeof from === "string" ? BpfMap.open<"array", number, unknown, undefined>(def, from, options) : from;
    try {
      return new GlobalData(def, map);
    } catch (error) {
      map.close();
      throw error;
    }
  }

  /** Closes the map, and the variables with it. Doing it again is fine. */
  close(): void {
    this.#memory.close();
    this.map.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function variables<M extends Members, Section extends DataSection>(
  def: DataDef<M, Section>,
  memory: MappedArray<unknown>,
): Variables<M, Section> {
  const vars = {};
  for (const field of Object.values(def.value.fields)) {
    const { name, layout } = field;
    if (layout.kind === "reserved") continue;
    Object.defineProperty(vars, name, {
      enumerable: true,
      get: () => memory.readField(field),
      set: (value: unknown) => {
        if (def.section === ".rodata") {
          throw new TsbpfError(`'${name}' of map '${def.name}' is a constant`, {
            hint: "Its value is given to GlobalData.create.",
          });
        }
        memory.writeField(field, value);
      },
    });
  }
  return Object.freeze(vars) as unknown as Variables<M, Section>;
}
