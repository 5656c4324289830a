import { release } from "node:os";
import { mov32 } from "../../asm/alu.ts";
import { assemble } from "../../asm/assemble.ts";
import { encode } from "../../asm/encode.ts";
import type { Insn } from "../../asm/insn.ts";
import { exit } from "../../asm/jump.ts";
import { type Blocks, type ProgTypeName, program } from "../../asm/program.ts";
import { r0 } from "../../asm/register.ts";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import { type BtfBuilder, createBtfBuilder } from "../../btf/builder.ts";
import { type MapCreateAttr, mapCreate } from "../../syscall/bpf-map.ts";
import { btfLoad } from "../../syscall/bpf-object.ts";
import { type ProgLoadAttr, progLoad } from "../../syscall/bpf-prog.ts";
import { describeErrno, SyscallError } from "../../syscall/errno.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { E2BIG, EACCES, EINVAL, ENOTSUPP, EOPNOTSUPP, EPERM } from "../../uapi/errno.ts";
import { mapTypeName } from "../map-type.ts";
import { withMemlock } from "../memlock.ts";
import { capabilitiesToCreate, capabilitiesToLoad } from "../needed-capabilities.ts";
import {
  type Capability,
  diagnosePermission,
  kernelBefore,
  type PermissionFacts,
  readPermissionFacts,
} from "../privileges.ts";
import { progTypeNumber } from "../program.ts";
import { no, unknown, type Verdict, yes } from "./answer.ts";

/** What came of trying something. */
export interface Attempt {
  /** A descriptor, which is closed already, or `-errno`. */
  readonly result: number;
  /** The verifier's log, where there is one. */
  readonly log: string;
  /** The call, for messages. */
  readonly call: string;
  /** The capabilities that it takes. */
  readonly needed: readonly Capability[];
}

/** A program to try: a type, and instructions or blocks of them. */
export interface LoadSpec {
  readonly type: ProgTypeName;
  /** Default `return 1`, which is a result that every hook takes but fentry and fexit. */
  readonly code?: readonly Insn[] | Blocks;
  /** `BPF_*` attach type, by number. */
  readonly attachType?: number | undefined;
  /** Anything else of `BPF_PROG_LOAD`. */
  readonly more?: Partial<ProgLoadAttr>;
  /** Have the log written at once, where a refusal is what is expected. Default: only to hear why it was refused. */
  readonly logAtOnce?: boolean;
}

/** Tries things on the running kernel, and takes back what it made. */
export interface Attempts {
  readonly sys: Syscalls;
  /** Creates a map, gives its descriptor to `use` while it is open, and says what came of it. */
  map(attr: MapCreateAttr, use?: (fd: number) => Attempt): Attempt;
  /** Loads a program; `use` as in {@link Attempts.map}. */
  load(spec: LoadSpec, use?: (fd: number) => Attempt): Attempt;
  /** Loads BTF, from a builder or as it is; `use` as in {@link Attempts.map}. */
  btf(source: Uint8Array | ((builder: BtfBuilder) => void), use?: (fd: number) => Attempt): Attempt;
  /** Any other call, by its wrapper; the descriptor that it returns, if it does, is closed. */
  call(name: string, needed: readonly Capability[], run: () => number | undefined): Attempt;
  /**
   * What an attempt tells: it went well, or failed with one of `yesTo`, where the feature is what could fail in that way:
   * `yes`. The kernel does not know it (EINVAL and its kin): `no`. Everything else, lack of permission first of all:
   * `unknown`.
   */
  conclude(attempt: Attempt, yesTo?: readonly number[]): Verdict;
  /** Whether this process holds a capability, or CAP_SYS_ADMIN in its place. */
  holds(capability: Capability): boolean;
  /** What this process may do; read once. */
  readonly facts: () => PermissionFacts;
}

/** Attempts on the running kernel through `sys`. */
export function createAttempts(given: Syscalls): Attempts {
  const sys = withMemlock(given);
  const facts = once(readPermissionFacts);
  const log_buf = new Uint8Array(LOG_SIZE);
  const plainFilter = once(() => attempts.load({ type: "socket_filter" }));

  const attempts: Attempts = {
    sys,
    facts,
    map(attr, use) {
      const needed = capabilitiesToCreate(mapTypeName(attr.map_type));
      return settle("bpf(BPF_MAP_CREATE)", needed, () => ({ result: mapCreate(sys, attr), log: "" }), use);
    },
    load(spec, use) {
      const needed = capabilitiesToLoad(spec.type);
      return settle("bpf(BPF_PROG_LOAD)", needed, () => loadLogged(sys, spec, log_buf), use);
    },
    btf(source, use) {
      const btf = source instanceof Uint8Array ? source : built(source);
      const load = (): Done => ({ result: btfLoad(sys, { btf }).result, log: "" });
      return settle("bpf(BPF_BTF_LOAD)", ["CAP_BPF"], load, use);
    },
    call(name, needed, run) {
      const { result } = caught(() => {
        const fd = run();
        if (fd !== undefined) sys.close(fd);
        return { result: 0, log: "" };
      });
      return { result, log: "", call: name, needed };
    },
    conclude(attempt, yesTo = []) {
      const errno = -attempt.result;
      if (attempt.result >= 0 || yesTo.includes(errno)) return yes();
      if (UNKNOWN_TO_KERNEL.includes(errno)) return no(saidBy(attempt));
      if (errno !== EPERM && errno !== EACCES) return unknown(saidBy(attempt));
      // The verifier forbids some things to the unprivileged only.
      if (attempt.log !== "" && diagnosePermission(PRIVILEGED, facts()).missing.length === 0) {
        return no(saidBy(attempt));
      }
      return unknown(`${saidBy(attempt)}. ${permissionText(attempt)}`);
    },
    holds: (capability) => diagnosePermission([capability], facts()).missing.length === 0,
  };
  return attempts;

  function permissionText(attempt: Attempt): string {
    const needed = attempt.log === "" ? attempt.needed : PRIVILEGED;
    const { cause, text } = diagnosePermission(needed, facts());
    if (cause !== "unexplained" || plainFilter().result < 0) return text;
    return `${text} It is not bpf(2) as a whole: a plain socket filter is taken.`;
  }

  function settle(
    call: string,
    needed: readonly Capability[],
    run: () => Done,
    use: ((fd: number) => Attempt) | undefined,
  ): Attempt {
    const { result, log } = caught(run);
    if (result < 0) return { result, log, call, needed };
    try {
      return use === undefined ? { result, log, call, needed } : use(result);
    } finally {
      sys.close(result);
    }
  }
}

/** What the kernel said, in a few words: `bpf(BPF_PROG_LOAD) says EINVAL (Invalid argument): unknown opcode 0e`. */
export function saidBy({ result, log, call }: Attempt): string {
  const line = verdictLine(log);
  return `${call} says ${describeErrno(-result)}${line === undefined ? "" : `: ${line}`}`;
}

/** The line of a verifier's log that gives the reason: the last one that is neither a listing nor statistics. */
export function verdictLine(log: string): string | undefined {
  return log
    .split("\n")
    .filter(
      (line) =>
        line !== "" &&
        !/^(processed |\s*\d+: |;|R\d|func#|Live regs|mark_precise|from |\s+\d*:?\s*$|verification time|stack depth)/.test(
          line,
        ),
    )
    .at(-1);
}

/** A descriptor that no process has open: a call that gets as far as complaining about it is one that the kernel knows. */
export const NO_FD = 0x7fff_ffff;

/** An interface that there is none of. */
export const NO_IFINDEX = 0x7fff_ffff;

/** How the kernel refuses what it does not know, or was built without. */
const UNKNOWN_TO_KERNEL: readonly number[] = [EINVAL, E2BIG, ENOTSUPP, EOPNOTSUPP];

/** With these the verifier holds nothing back. */
const PRIVILEGED: readonly Capability[] = ["CAP_BPF", "CAP_PERFMON"];

const LOG_SIZE = 0x1_0000;

type Done = Pick<Attempt, "result" | "log">;

function caught(run: () => Done): Done {
  try {
    return run();
  } catch (error) {
    if (error instanceof SyscallError) return { result: -error.errno, log: "" };
    throw error;
  }
}

function loadLogged(
  sys: Syscalls,
  { type, code = RETURN_1, attachType, more, logAtOnce = false }: LoadSpec,
  log_buf: Uint8Array,
): Done {
  const attr: ProgLoadAttr = {
    prog_type: progTypeNumber(type),
    insns: isList(code) ? encode(code, ENDIAN) : encodeBlocks(type, code),
    license: "GPL",
    expected_attach_type: attachType,
    // Before 5.0 it had to be that of the running kernel, for kprobe programs.
    kern_version: type === "kprobe" && kernelBefore(5, 0) ? kernelVersion() : undefined,
    ...more,
  };
  // Writing the log takes far longer than loading.
  const quiet = logAtOnce ? undefined : progLoad(sys, attr).result;
  if (quiet !== undefined && quiet >= 0) return { result: quiet, log: "" };
  log_buf[0] = 0;
  const { result } = progLoad(sys, { ...attr, log_buf, log_level: 1 });
  if (result >= 0) return { result, log: "" };
  // A log that does not fit is an error of its own, and not the one to judge by.
  return { result: quiet ?? result, log: UTF8.decode(log_buf.subarray(0, log_buf.indexOf(0))) };
}

const UTF8 = new TextDecoder();
const ENDIAN = LITTLE_ENDIAN ? "little" : "big";
const RETURN_1: readonly Insn[] = [mov32(r0, 1), exit()];

function isList(code: readonly Insn[] | Blocks): code is readonly Insn[] {
  return Array.isArray(code);
}

function encodeBlocks(type: ProgTypeName, blocks: Blocks): Uint8Array {
  const { lines } = assemble(program(type, "probe", blocks as never), { endian: ENDIAN });
  return encode(
    lines.map(({ insn }) => insn),
    ENDIAN,
  );
}

function built(build: (builder: BtfBuilder) => void): Uint8Array {
  const builder = createBtfBuilder({ byteOrder: ENDIAN });
  build(builder);
  return builder.encode();
}

/** `LINUX_VERSION_CODE` of the running kernel, from what `uname -r` says. */
function kernelVersion(): number {
  const [, major = 0, minor = 0, patch = 0] = (/^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release()) ?? []).map(Number);
  return (major << 16) | (minor << 8) | Math.min(patch, 255);
}

function once<Value>(make: () => Value): () => Value {
  let value: Value | undefined;
  return () => {
    value ??= make();
    return value;
  };
}
