import { type Assembled, type AssembledInsn, assemble } from "../asm/assemble.ts";
import { encode } from "../asm/encode.ts";
import type { Insn } from "../asm/insn.ts";
import type { MapDef } from "../asm/map-def.ts";
import type { AttachTypeName, Program, ProgTypeName } from "../asm/program.ts";
import { TsbpfError } from "../base/error.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { FUNC_INFO_SIZE, LINE_INFO_SIZE } from "../btf/ext.ts";
import { progGetFdById } from "../syscall/bpf-object.ts";
import { type ProgLoadAttr, progLoad } from "../syscall/bpf-prog.ts";
import { SyscallError } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import {
  BPF_F_XDP_DEV_BOUND_ONLY,
  BPF_F_XDP_HAS_FRAGS,
  bpf_attach_type,
  bpf_prog_type,
} from "../uapi/bpf.ts";
import { E2BIG, EACCES, EINVAL, ENOSPC, EPERM } from "../uapi/errno.ts";
import { type AttachTo, explainTarget, resolveAttachTo } from "./attach-target.ts";
import { loadBtf } from "./btf-load.ts";
import { findDeviceHere } from "./device.ts";
import { createKfuncCalls, type KfuncCalls, openModules } from "./kfunc.ts";
import type { BpfMap, KernelOptions } from "./map.ts";
import { withMemlock } from "./memlock.ts";
import { type ProgramInfo, readProgramCode, readProgramInfo } from "./object-info.ts";
import { checkKind, duplicate } from "./object-kind.ts";
import { openPin, pinObject, removePin } from "./pin.ts";
import { permissionHint } from "./privileges.ts";
import { programBtf } from "./program-btf.ts";
import { createSourceText, displayPath, type SourceText } from "./source-text.ts";
import { type TestRunOptions, type TestRunResult, testRun } from "./test-run.ts";
import { type LoggedLoad, loadWithLog } from "./verifier/load-log.ts";
import { VerifierError } from "./verifier-error.ts";
import { ksymId } from "./vmlinux.ts";

/** Options of {@link BpfProgram.load}. */
export interface LoadOptions extends KernelOptions {
  /** The maps that the program refers to, created from the same definitions. */
  readonly maps?: readonly BpfMap[];
  /** Have the verifier write its log also when it accepts the program: 1 the path, 2 every state. Default 0. */
  readonly logLevel?: 0 | 1 | 2;
  /**
   * What it will be attached to, for the program types that are checked against it at load (tracing, LSM, ext). Default what
   * the program itself says.
   */
  readonly attachTo?: AttachTo;
  /**
   * The interface that an XDP program is loaded for, by name or index in the current network namespace: it can then ask the
   * driver about a packet (`bpf_xdp_metadata_rx_timestamp`, `_rx_hash`, `_rx_vlan_tag`), and be attached to this interface alone,
   * in native mode. Kernel 6.3.
   */
  readonly device?: string | number;
}

/**
 * A program in the kernel, owned through its fd: close it, or declare it with `using`. It lives on while an attachment,
 * a pin or another fd holds it.
 *
 * @example
 * ```ts
 * const hits = mapDef({ name: "hits", type: "array", key: u32, value: u64, maxEntries: 1 });
 * const count = xdp("count", {
 *   entry: [lddw(r1, mapValue(hits)), mov32(r2, 1), aadd64([r1, 0], r2), mov32(r0, XDP_PASS), exit()],
 * });
 *
 * using map = BpfMap.create(hits);
 * using prog = BpfProgram.load(count, { maps: [map] });
 * console.log(prog.testRun({ data: new Uint8Array(64) }).retval, map.get(0)); // 2 1n
 * ```
 */
export class BpfProgram {
  readonly name: string;
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  /** Where it was loaded to be attached; `undefined` also for a program that was opened: the kernel does not tell. */
  readonly attachType: AttachTypeName | undefined;
  /** The verifier's log; empty unless it was asked for. */
  readonly log: string;
  /**
   * Why the kernel took the program without its BTF, so that listings do not show its functions and source lines; usually
   * `undefined`. Kernels before 5.0 do not know all of it.
   */
  readonly btfRefusal: SyscallError | undefined;
  readonly #fd: Fd;
  readonly #sys: Syscalls;

  private constructor(
    sys: Syscalls,
    fd: Fd,
    facts: Pick<BpfProgram, "name" | "type" | "attachType" | "log" | "btfRefusal">,
  ) {
    this.name = facts.name;
    this.type = facts.type;
    this.attachType = facts.attachType;
    this.log = facts.log;
    this.btfRefusal = facts.btfRefusal;
    this.#fd = fd;
    this.#sys = sys;
  }

  /**
   * Assembles a program, fills in its maps, kernel functions and kernel variables, and loads it with BTF that tells the
   * kernel its functions and source lines.
   *
   * @throws AssembleError when it cannot be assembled; VerifierError when the verifier refuses it, with the line of
   * TypeScript and the whole log; SyscallError EPERM without CAP_BPF and, by type, CAP_NET_ADMIN or CAP_PERFMON, and without
   * CAP_SYS_ADMIN where it calls or attaches to a function of a module;
   * TsbpfError when a map was not given, or the running kernel lacks a function or variable, or what `attachTo` names;
   * UnsupportedError where the kernel takes no programs at functions.
   */
  static load(program: Program, options: LoadOptions = {}): BpfProgram {
    const { maps = [], logLevel = 0, attachTo = program.attachTo, device } = options;
    const sys = withMemlock(options.sys ?? linuxSyscalls());
    const assembled = assemble(program, { endian: LITTLE_ENDIAN ? "little" : "big" });
    const text = createSourceText();
    const kfuncs = createKfuncCalls();
    const own = loadAttr(assembled, maps, kfuncs);
    using modules = openModules(sys, kfuncs.modules);
    using target = resolveAttachTo(sys, program, attachTo);
    const bound = device === undefined ? {} : bindToDevice(sys, program, device);
    const attr = { ...own, fd_array: modules.fdArray, ...target.attr, ...bound };
    const { result, log, btfRefusal } = explained(program, attachTo, () =>
      load(sys, assembled, attr, logLevel, text),
    );
    const fd = Fd.own(sys, result, `program '${program.name}'`);
    const { name, attachType } = program;
    return new BpfProgram(sys, fd, { name, type: attr.prog_type, attachType, log, btfRefusal });
  }

  /** Opens a pinned program. @throws SyscallError: ENOENT; TsbpfError when the pin is no program. */
  static open(path: string, options: KernelOptions = {}): BpfProgram {
    const { sys = linuxSyscalls() } = options;
    return BpfProgram.#adopt(openPin(sys, path, "program"), sys);
  }

  /** Opens a program by its id, or gives `undefined` where no program has it (any more). Needs CAP_SYS_ADMIN. */
  static fromId(id: number, options: KernelOptions = {}): BpfProgram | undefined {
    const { sys = linuxSyscalls() } = options;
    const fd = progGetFdById(sys, id);
    return fd === undefined ? undefined : BpfProgram.#adopt(Fd.own(sys, fd, `program ${id}`), sys);
  }

  /**
   * Takes a program by a descriptor that came from elsewhere, such as a parent process. It works with a duplicate: the one
   * given stays the caller's.
   *
   * @throws TsbpfError when it is no program's; SyscallError: EBADF.
   */
  static fromFd(fd: number, options: KernelOptions = {}): BpfProgram {
    const { sys = linuxSyscalls() } = options;
    return BpfProgram.#adopt(duplicate(sys, fd, `descriptor ${fd}`), sys);
  }

  static #adopt(fd: Fd, sys: Syscalls): BpfProgram {
    try {
      checkKind(fd, "program");
      const { name, type } = readProgramInfo(sys, fd.number);
      return new BpfProgram(sys, fd, { name, type, attachType: undefined, log: "", btfRefusal: undefined });
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** The fd, for calls that this class does not cover. It stays the program's own. */
  get fd(): number {
    return this.#fd.number;
  }

  /** Whether it was closed. What holds it in the kernel may go on. */
  get closed(): boolean {
    return this.#fd.closed;
  }

  /** What the kernel tells about it. */
  info(): ProgramInfo {
    return readProgramInfo(this.#sys, this.fd);
  }

  /**
   * The instructions as the verifier rewrote them, 8 bytes each. `decode` and `disassemble` of `tsbpf/asm`, each with
   * `{ form: "xlated" }`, put them into words. `undefined` where the kernel hides them, see `readProgramCode`.
   */
  xlated(): Uint8Array | undefined {
    return readProgramCode(this.#sys, this.fd, "xlated");
  }

  /** The machine code; `undefined` where the program is interpreted, or the kernel hides it. */
  jited(): Uint8Array | undefined {
    return readProgramCode(this.#sys, this.fd, "jited");
  }

  /**
   * Runs the program once or more on a packet or a context, without attaching it anywhere.
   *
   * @throws SyscallError: ENOTSUPP for types that cannot be run so, EINVAL for a packet or context that does not fit the
   * type, ENOSPC for a packet that grew beyond its room.
   * @example
   * ```ts
   * const { retval, data } = prog.testRun({ data: packet });
   * if (retval === XDP_TX) console.log(data);
   * ```
   */
  testRun(options: TestRunOptions = {}): TestRunResult {
    return testRun(this.#sys, this, options);
  }

  /** Pins the program to a path on a bpffs. @throws SyscallError: EEXIST, ENOENT, EPERM where it is no bpffs. */
  pin(path: string): void {
    pinObject(this.#sys, path, this.fd);
  }

  /**
   * Removes a pin of this program. The program lives on as long as something holds it.
   *
   * @throws TsbpfError when the pin is of another object; SyscallError: ENOENT.
   */
  unpin(path: string): void {
    const { id } = this.info();
    removePin(this.#sys, path, { kind: "program", id }, (fd) => readProgramInfo(this.#sys, fd).id);
  }

  /** Closes the fd. Doing it again is fine. */
  close(): void {
    this.#fd.close();
  }

  /** Closes it, at the end of a `using` declaration. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The number of a program type. */
export function progTypeNumber(type: ProgTypeName): number {
  return bpf_prog_type[`BPF_PROG_TYPE_${type.toUpperCase()}` as keyof typeof bpf_prog_type];
}

function loadAttr(assembled: Assembled, maps: readonly BpfMap[], kfuncs: KfuncCalls): ProgLoadAttr {
  const { program } = assembled;
  const { attachType } = program;
  return {
    prog_type: progTypeNumber(program.type),
    insns: encode(
      assembled.lines.map((line) => relocate(line, maps, kfuncs, program.name)),
      LITTLE_ENDIAN ? "little" : "big",
    ),
    license: program.license,
    prog_name: program.name,
    prog_flags: program.flags,
    expected_attach_type:
      attachType === undefined
        ? undefined
        : bpf_attach_type[`BPF_${attachType.toUpperCase()}` as keyof typeof bpf_attach_type],
  };
}

/** What makes a program one for a single interface. */
function bindToDevice(
  sys: Syscalls,
  program: Program,
  device: string | number,
): Pick<ProgLoadAttr, "prog_ifindex" | "prog_flags"> {
  if (program.type !== "xdp") {
    throw new TsbpfError(`program '${program.name}' of type ${program.type} is not loaded for an interface`, {
      hint: "Only XDP programs are. Leave the option device out, and name the interface when you attach it.",
    });
  }
  const { index } = findDeviceHere(sys, device);
  return { prog_ifindex: index, prog_flags: program.flags | BPF_F_XDP_DEV_BOUND_ONLY };
}

/** Fills in what an instruction refers to: the fd of a map, the BTF id of a kernel function or variable. */
function relocate(
  { insn }: AssembledInsn,
  maps: readonly BpfMap[],
  kfuncs: KfuncCalls,
  program: string,
): Insn {
  const { ref } = insn;
  switch (ref?.kind) {
    case "map":
      return { ...insn, imm: findMap(ref.map, maps, program).fd };
    case "kfunc":
      return { ...insn, ...inProgram(program, insn, () => kfuncs.call(ref.name)) };
    case "ksym":
      return { ...insn, imm: inProgram(program, insn, () => ksymId(ref.name)) };
    default:
      return insn;
  }
}

/** Adds to an error which line of which program it is about. */
function inProgram<Result>(program: string, { source }: Insn, resolve: () => Result): Result {
  try {
    return resolve();
  } catch (cause) {
    if (!(cause instanceof TsbpfError)) throw cause;
    const position = source?.position();
    const place = position && `${displayPath(position.file)}:${position.line}:${position.column}`;
    throw new TsbpfError(`program '${program}': ${cause.message.split("\n")[0]}`, {
      details: place === undefined ? "" : `  ${place}`,
      hint: cause.hint,
      cause,
    });
  }
}

function findMap(def: MapDef, maps: readonly BpfMap[], program: string): BpfMap {
  const map = maps.find((candidate) => candidate.def === def);
  if (map !== undefined) return map;
  const twin = maps.find((candidate) => candidate.def.name === def.name);
  throw new TsbpfError(
    `program '${program}' uses map '${def.name}', and no map was created from that definition`,
    {
      hint:
        twin === undefined
          ? "Create it with BpfMap.create(definition) and give it to load in maps."
          : `The '${def.name}' in maps was created from another definition object${differences(twin.def, def)}: make one, and use it for the map and for the program.`,
    },
  );
}

/** How two definitions differ, as a clause; that they are equal is worth saying, too. */
function differences(a: MapDef, b: MapDef): string {
  const facts = (def: MapDef): readonly (string | number)[] => [
    `type ${def.type}`,
    `keys of ${def.key?.size ?? 0} bytes`,
    `values of ${def.value?.size ?? 0} bytes`,
    `${def.maxEntries} entries`,
    `flags ${def.flags}`,
  ];
  const theirs = facts(b);
  const different = facts(a).filter((fact, index) => fact !== theirs[index]);
  return different.length === 0 ? " (of the same shape)" : ` (with ${different.join(", ")})`;
}

/** A load that went well, in the end. */
interface Loaded extends LoggedLoad {
  readonly btfRefusal: SyscallError | undefined;
}

/**
 * Loads the program with its BTF, or without where the kernel does not take it: a kernel that knows no BTF still runs the
 * program, and only listings are the poorer. A program with callbacks cannot do without.
 */
function load(
  sys: Syscalls,
  assembled: Assembled,
  attr: ProgLoadAttr,
  logLevel: 0 | 1 | 2,
  text: SourceText,
): Loaded {
  const { btf, funcInfo, lineInfo } = programBtf(assembled, text);
  const loaded = loadBtf(sys, btf, `program '${assembled.program.name}'`);
  const needed = assembled.lines.some(({ insn }) => insn.ref?.kind === "callback");
  if (!(loaded instanceof Fd)) {
    if (needed) throw loaded;
    return { ...attempt(sys, assembled, attr, logLevel, text), btfRefusal: loaded };
  }
  using fd = loaded;
  const withBtf: ProgLoadAttr = {
    ...attr,
    prog_btf_fd: fd.number,
    func_info: { bytes: funcInfo, rec_size: FUNC_INFO_SIZE },
    line_info: lineInfo.length === 0 ? undefined : { bytes: lineInfo, rec_size: LINE_INFO_SIZE },
  };
  try {
    return { ...attempt(sys, assembled, withBtf, logLevel, text), btfRefusal: undefined };
  } catch (error) {
    // Kernels 4.18 to 4.20 load BTF, and do not know these fields of bpf_attr: E2BIG is what they say to that.
    if (needed || !(error instanceof SyscallError) || error.code !== "E2BIG") throw error;
    return { ...attempt(sys, assembled, attr, logLevel, text), btfRefusal: error };
  }
}

// The first attempt goes without a log, which is several times faster; a refused program is loaded again to hear why.
function attempt(
  sys: Syscalls,
  assembled: Assembled,
  attr: ProgLoadAttr,
  logLevel: 0 | 1 | 2,
  text: SourceText,
): LoggedLoad {
  const quiet = logLevel === 0 ? progLoad(sys, attr).result : undefined;
  if (quiet !== undefined && quiet >= 0) return { result: quiet, log: "" };
  const { result, log } = loadWithLog(sys, { ...attr, log_level: logLevel === 0 ? 1 : logLevel }, quiet);
  if (result >= 0) return { result, log };
  const errno = -(result === -ENOSPC ? (quiet ?? result) : result);
  throw log === "" ? refused(assembled, errno) : new VerifierError(assembled, errno, log, text);
}

/** A load that the kernel refused before the verifier had a word to say. */
function refused({ program }: Assembled, errno: number): TsbpfError {
  const args = { name: program.name, type: program.type };
  return new SyscallError("bpf(BPF_PROG_LOAD)", errno, args, { hint: refusalHint(program, errno) });
}

/** Says so where it is the target that this kernel does not take. */
function explained<Result>(program: Program, target: AttachTo | undefined, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw explainTarget(program, target, error) ?? error;
  }
}

function refusalHint(program: Program, errno: number): string | undefined {
  if (errno === EPERM || errno === EACCES) return permissionHint(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
  if (errno === E2BIG)
    return "The program has too many instructions (4096 without CAP_BPF, one million with it).";
  if (errno === EINVAL && ((program.flags ?? 0) & BPF_F_XDP_HAS_FRAGS) !== 0) {
    return "BPF_F_XDP_HAS_FRAGS came with kernel 5.18: before, leave it out, and lower the MTU where the driver asks for it.";
  }
  if (errno === EINVAL) {
    return `The kernel may not know program type '${program.type}'${program.attachType === undefined ? "" : ` or attach type '${program.attachType}'`}.`;
  }
  return undefined;
}
