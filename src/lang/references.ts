import { LangError } from "./error.ts";
import { here, type OpenRecord, type Recorder } from "./recorder.ts";

/** How what must be given back is called, and what gives it back. */
type Ending = Pick<OpenRecord, "done" | "undone" | "remedy">;

/** Records of ring buffers. */
export const RECORD: Ending = {
  done: "submitted or discarded",
  undone: "neither submitted nor discarded",
  remedy: "$.submit or $.discard",
};
const RAW_RECORD: Ending = { ...RECORD, remedy: "$.bpf_ringbuf_submit or $.bpf_ringbuf_discard" };
/** Sockets. */
export const SOCKET: Ending = { done: "released", undone: "not released", remedy: "$.bpf_sk_release" };

/** Helpers that give what must be given back (`is_acquire_function()` of the verifier). */
export const ACQUIRES: Readonly<
  Record<string, { readonly what: string; readonly ending: Ending } | undefined>
> = {
  bpf_sk_lookup_tcp: { what: "the socket", ending: SOCKET },
  bpf_sk_lookup_udp: { what: "the socket", ending: SOCKET },
  bpf_skc_lookup_tcp: { what: "the socket", ending: SOCKET },
  bpf_ringbuf_reserve: { what: "the record", ending: RAW_RECORD },
};

/** Helpers that take it back, as their first argument. */
export const RELEASES: ReadonlySet<string> = new Set([
  "bpf_sk_release",
  "bpf_ringbuf_submit",
  "bpf_ringbuf_discard",
]);

/** Keeps in mind that something must be given back on each path from here. */
export function openReference(recorder: Recorder, reference: OpenRecord): void {
  recorder.open = new Set([...recorder.open, reference]);
}

/** Something has been given back, or turned out to be null. */
export function closeReference(recorder: Recorder, reference: OpenRecord): void {
  recorder.open = new Set([...recorder.open].filter((open) => open !== reference));
}

/** Refuses to give back in the body of a `bpf_loop` what is from before the loop: the kernel wants it done in the same function. */
export function checkOwnReference(recorder: Recorder, reference: OpenRecord, how: string): void {
  for (let { loop } = recorder; loop !== undefined; loop = loop.outer) {
    if (!loop.open.has(reference)) continue;
    loop.releases = true;
    if (!loop.outlined) continue;
    throw new LangError(
      `${reference.name} is from before a loop whose body is a function (bpf_loop), and is ${how} in it`,
      here(),
      'The kernel wants it done where it was reserved: do it behind the loop, or make the loop { as: "iterator" }.',
    );
  }
}
