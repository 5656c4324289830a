import type { HelperParam, HelperResult, HelperShape } from "../../src/lang/call/helper-shape.ts";
import type { HostKind, ScalarKind } from "../../src/lang/kind.ts";
import type { Helper } from "../../src/uapi/helper.ts";
import * as facts from "./helper-facts.ts";

/** What the language must know of a helper, from its prototype and from `helper-facts.ts`. Throws where those leave a question. */
export function readHelper(helper: Helper): HelperShape {
  const { result, params, variadic } = readPrototype(helper.signature);
  const name = helper.name.replace("bpf_", "");
  const read = params.map((param, index) => readParam(name, param, params, index));
  const has = (kind: HelperParam["kind"]): boolean => read.some((param) => param.kind === kind);
  const movesPacket = facts.movesPacket.has(name);
  const pure = facts.pure.has(name);
  // A helper that gets the context may read whatever of it, and of the packet behind it; one with a callback may do what
  // the callback does.
  const all = has("callback") || name === "sys_bpf";
  const reads = [
    ...(has("ctx") && !pure ? ["ctx", "packet"] : []),
    ...(all ? ["any"] : []),
    ...(facts.reads[name] ?? []),
  ];
  const writes = [
    ...(movesPacket ? ["ctx", "packet"] : []),
    ...(all ? ["any"] : []),
    ...(facts.writes[name] ?? []),
  ];
  return {
    helper,
    params: read,
    variadic,
    result: readResult(name, result),
    reads: reads as HelperShape["reads"],
    writes: writes as HelperShape["writes"],
    movesPacket,
    removable: pure || facts.removable.has(name),
    pure,
  };
}

/** Names in `helper-facts.ts` that no helper or parameter has: left over, or misspelt. */
export function unknownFacts(helpers: readonly Helper[]): readonly string[] {
  const known = new Set(
    helpers.flatMap(({ name, signature }) => {
      const short = name.replace("bpf_", "");
      return [short, ...readPrototype(signature).params.map((param) => `${short}.${param.name}`)];
    }),
  );
  const names = Object.values(facts).flatMap((fact: object) =>
    fact instanceof Set ? [...(fact as Set<string>)] : Object.keys(fact),
  );
  return [...new Set(names)].filter((name) => !known.has(name));
}

interface CParam {
  /** As in C: `const void *`, `u32`. */
  readonly type: string;
  readonly name: string;
}

/** Takes a C prototype apart. */
function readPrototype(signature: string): { result: string; params: readonly CParam[]; variadic: boolean } {
  const [, before, inside] = /^(.*?)\bbpf_\w+\((.*)\)$/.exec(signature) ?? [];
  if (before === undefined || inside === undefined) throw new Error(`not a prototype: ${signature}`);
  const parts = inside === "void" ? [] : inside.split(",").map((part) => part.trim());
  const params = parts
    .filter((part) => part !== "...")
    .map((part): CParam => {
      const [, type = "", name = ""] = /^(.*?)(\w+)$/.exec(part) ?? [];
      return { type: type.trim(), name };
    });
  return { result: before.trim(), params, variadic: parts.includes("...") };
}

/** C types that are numbers. */
const SCALARS: Readonly<Record<string, ScalarKind>> = {
  u16: "u16",
  u32: "u32",
  u64: "u64",
  s32: "s32",
  s64: "s64",
  int: "s32",
  long: "s64",
  size_t: "u64",
  __be16: "be16",
  __wsum: "u32",
};

/** C types of contexts, as the helpers' prototypes have them. */
const CONTEXTS: ReadonlySet<string> = new Set(
  ["sk_buff", "xdp_buff", "sk_msg_buff", "sk_reuseport_md", "bpf_perf_event_data", "pt_regs"]
    .concat(["bpf_sock_ops", "bpf_sock_addr", "bpf_sysctl", "bpf_sk_lookup"])
    .map((name) => `struct ${name} *`),
);

function readParam(
  helper: string,
  { type, name }: CParam,
  all: readonly CParam[],
  index: number,
): HelperParam {
  const key = `${helper}.${name}`;
  const scalar = SCALARS[type];
  if (scalar !== undefined) return { kind: "scalar", name, scalar };
  if (name === "callback_fn") return { kind: "callback", name };
  if (type === "struct bpf_map *" || facts.maps.has(key)) {
    return { kind: "map", name, types: facts.mapTypes[helper] as never };
  }
  if (facts.addresses.has(key)) return { kind: "address", name };
  const nullable = facts.mayBeNull.has(key);
  const tags = facts.pointers[key];
  if (tags !== undefined) return { kind: "pointer", name, tags: tags === "any" ? undefined : tags, nullable };
  if (index === 0 && (key in facts.contexts || CONTEXTS.has(type) || `${type}${name}` === "void *ctx")) {
    return { kind: "ctx", name, or: facts.contexts[key] };
  }
  const access = type.startsWith("const ") ? "read" : facts.memoryAccess[key];
  if (access !== undefined && !/path/.test(type)) {
    return { kind: "memory", name, access, size: sizeOf(key, all, index), nullable };
  }
  const [, tag] = /^(?:const )?struct (\w+) \*$/.exec(type) ?? [];
  if (tag === undefined)
    throw new Error(`helper-facts.ts does not say what '${type}${name}' of bpf_${helper} is`);
  return { kind: "pointer", name, tags: [tag], nullable };
}

function sizeOf(
  key: string,
  all: readonly CParam[],
  index: number,
): number | "key" | "value" | { param: number } {
  const known = facts.memorySize[key];
  if (known !== undefined) return known;
  const next = all[index + 1];
  if (next === undefined || !/size|sz|len/.test(next.name))
    throw new Error(`helper-facts.ts does not say how large ${key} is`);
  return { param: index + 1 };
}

function readResult(helper: string, type: string): HelperResult {
  if (type === "void") return { kind: "void" };
  const nullable = !facts.neverNull.has(helper);
  const long = facts.pointerResults[helper];
  if (long !== undefined) return { kind: "pointer", tag: long, nullable: false };
  const scalar = SCALARS[type];
  if (scalar !== undefined) return { kind: "scalar", scalar: scalar as HostKind };
  const [, struct] = /^struct (\w+) \*$/.exec(type) ?? [];
  const tag = struct ?? facts.resultTags[helper];
  if (tag === undefined) throw new Error(`helper-facts.ts does not say what bpf_${helper} gives`);
  return { kind: "pointer", tag, nullable };
}
