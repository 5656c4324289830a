// What a program on libbpf pays for the same work: `peer OBJECT TASK COUNT` prints nanoseconds for one.
// Tasks: load (open, load and close the sample), start (once, then exit), map-set, map-get, map-batch, ring.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static struct bpf_object *load(const char *path, const char *without)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);

	if (!object)
		die("open");
	// Only what the task needs is loaded: as on the other side.
	bpf_program__set_autoload(bpf_object__find_program_by_name(object, without), false);
	bpf_map__set_autocreate(bpf_object__find_map_by_name(object, strcmp(without, "ring_producer") ? "cpus" : "ring"), false);
	if (bpf_object__load(object))
		die("load");
	return object;
}

struct record {
	__u64 seq;
	__u32 cpu;
	__u32 magic;
};

static __u64 expected;

static int take(void *context, void *data, size_t size)
{
	const struct record *record = data;

	(void)context;
	if (size != sizeof(*record) || record->seq != expected++)
		return -EPROTO;
	return 0;
}

static double ring(const char *path, long count)
{
	struct bpf_object *object = load(path, "xdp_same_cpu");
	int program = bpf_program__fd(bpf_object__find_program_by_name(object, "ring_producer"));
	struct ring_buffer *reader = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "ring"), take, NULL, NULL);
	char packet[64] = {};
	double spent = 0;

	if (!reader)
		die("ring buffer");
	for (long done = 0; done < count;) {
		long round = count - done < 200000 ? count - done : 200000;
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet), .repeat = round);

		if (bpf_prog_test_run_opts(program, &run))
			die("test run");
		double start = now(CLOCK_PROCESS_CPUTIME_ID);
		if (ring_buffer__consume(reader) != round)
			die("lost records");
		spent += now(CLOCK_PROCESS_CPUTIME_ID) - start;
		done += round;
	}
	return spent / count;
}

enum { ENTRIES = 1024 };

static double map(const char *task, long count)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bench", 4, 8, ENTRIES, NULL);
	static __u32 keys[ENTRIES];
	static __u64 values[ENTRIES];

	if (fd < 0)
		die("map");
	for (__u32 key = 0; key < ENTRIES; key++) {
		__u64 value = key;

		if (bpf_map_update_elem(fd, &key, &value, BPF_ANY))
			die("update");
	}
	double start = now(CLOCK_PROCESS_CPUTIME_ID);
	if (!strcmp(task, "map-batch")) {
		for (long i = 0; i < count; i += ENTRIES) {
			__u32 next, n = ENTRIES;

			if (bpf_map_lookup_batch(fd, NULL, &next, keys, values, &n, NULL) && errno != ENOENT)
				die("batch");
			if (n != ENTRIES)
				die("batch is short");
		}
	} else {
		for (long i = 0; i < count; i++) {
			__u32 key = i % ENTRIES;
			__u64 value = i;

			if (!strcmp(task, "map-set") ? bpf_map_update_elem(fd, &key, &value, BPF_ANY)
						     : bpf_map_lookup_elem(fd, &key, &value))
				die(task);
		}
	}
	return (now(CLOCK_PROCESS_CPUTIME_ID) - start) / count;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: peer OBJECT TASK COUNT\n");
		return 2;
	}
	const char *path = argv[1], *task = argv[2];
	long count = atol(argv[3]);

	if (!strcmp(task, "load") || !strcmp(task, "start")) {
		double start = now(CLOCK_PROCESS_CPUTIME_ID);

		for (long i = 0; i < count; i++)
			bpf_object__close(load(path, "ring_producer"));
		printf("%.0f\n", (now(CLOCK_PROCESS_CPUTIME_ID) - start) / count);
	} else if (!strcmp(task, "ring")) {
		printf("%.1f\n", ring(path, count));
	} else {
		printf("%.1f\n", map(task, count));
	}
	return 0;
}
