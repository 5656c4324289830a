import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { be16, be32, struct, u32 } from "../../src/btf/layout/index.ts";
import { type Pointer, sockContext, TC_ACT_OK, type TcScope, tc } from "../../src/lang/index.ts";
import { refusal } from "./refusal.ts";

const refused = (body: () => unknown): string => refusal(fileURLToPath(import.meta.url), body);
const tuple = struct("bpf_sock_tuple", { saddr: be32, daddr: be32, sport: be16, dport: be16 });

/** A program around a lookup of a socket. */
const program = (body: ($: TcScope, lookup: () => ReturnType<TcScope["bpf_sk_lookup_udp"]>) => void) => () =>
  tc("program", ($) => {
    body($, () => $.bpf_sk_lookup_udp($.struct(tuple), 12, 0, 0));
    return $.return(TC_ACT_OK);
  });

test("a socket that nobody looked at", () => {
  expect(refused(program((_, lookup) => void lookup()))).toBe(
    "the socket that bpf_sk_lookup_udp gave is not released before this path ends",
  );
});

test("a socket that is not released", () => {
  expect(refused(program(($, lookup) => void $.ifPresent(lookup(), () => {})))).toBe(
    "the socket that bpf_sk_lookup_udp gave is not released at the end of $.ifPresent's body",
  );
  expect(refused(program(($, lookup) => void $.ifPresent(lookup(), () => $.return(TC_ACT_OK))))).toBe(
    "the socket that bpf_sk_lookup_udp gave is not released before this path ends",
  );
});

test("a socket that is released on one path and not on another", () => {
  expect(
    refused(
      program(($, lookup) => {
        $.ifPresent(lookup(), (found) => {
          $.if($.ctx.mark.eq(1), () => $.bpf_sk_release(found));
          return $.return(TC_ACT_OK);
        });
      }),
    ),
  ).toBe("the socket that bpf_sk_lookup_udp gave is released on one path and not on another");
});

test("a socket that is used after it was released, or released twice", () => {
  const twice = (second: ($: TcScope, found: Pointer<"bpf_sock">) => void) =>
    program(($, lookup) => {
      $.ifPresent(lookup(), (found) => {
        $.bpf_sk_release(found);
        second($, found);
      });
    });
  const gone = "the socket that bpf_sk_lookup_udp gave cannot be used any more: it was released";
  expect(refused(twice(($, found) => $.bpf_sk_release(found)))).toBe(gone);
  expect(refused(twice(($, found) => $.view(found, sockContext)))).toBe(gone);
  const read = program(($, lookup) => {
    $.ifPresent(lookup(), (found) => {
      const view = $.view(found, sockContext);
      $.bpf_sk_release(found);
      $.let(u32, view.mark);
    });
  });
  expect(refused(read)).toBe("the bpf_sock cannot be used any more: it was released");
});

test("a pointer outside of the body that it exists in", () => {
  let kept: Pointer<"bpf_sock"> | undefined;
  expect(
    refused(
      program(($, lookup) => {
        $.ifPresent(lookup(), (found) => {
          kept = found;
          $.bpf_sk_release(found);
        });
        $.view(kept as Pointer<"bpf_sock">, sockContext);
      }),
    ),
  ).toBe("a pointer is used outside of the branch that it exists in");
});

test("a pointer that may be null, one that never is, and what was not acquired", () => {
  expect(
    refused(
      program(($, lookup) => {
        // @ts-expect-error It may be null.
        $.bpf_sk_release(lookup());
      }),
    ),
  ).toBe("the pointer that bpf_sk_release takes as 'sock' may be null");
  expect(
    refused(
      program(($, lookup) => {
        // @ts-expect-error Inside, it is not null any more.
        $.ifPresent(lookup(), (found) => void $.ifPresent(found, () => {}));
      }),
    ),
  ).toBe("$.ifPresent takes a pointer that may be null, and this is one that never is");
  expect(
    refused(
      program(($, lookup) => {
        $.ifPresent(lookup(), (found) => {
          $.ifPresent($.bpf_sk_fullsock(found), (full) => void $.bpf_sk_release(full));
          $.bpf_sk_release(found);
        });
      }),
    ),
  ).toBe("bpf_sk_release gives back what a helper acquired, and this pointer was not");
});

test("a field of a socket is not written", () => {
  expect(
    refused(
      program(($, lookup) => {
        $.ifPresent(lookup(), (found) => {
          $.view(found, sockContext).mark.set(1);
          $.bpf_sk_release(found);
        });
      }),
    ),
  ).toBe("the bpf_sock cannot be written");
});
