package infer_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
)

func TestFreeMemory(t *testing.T) {
	const meminfo = "MemTotal:       8000 kB\nMemFree:         900 kB\nMemAvailable:   5000 kB\n"
	for name, test := range map[string]struct {
		files map[string]string
		free  int64
		known bool
	}{
		"another system": {},
		"no groups":      {map[string]string{"proc/meminfo": meminfo}, 5000 << 10, true},
		"an old kernel":  {map[string]string{"proc/meminfo": "MemTotal: 8000 kB\n"}, 0, false},
		"no limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1000\n",
		}, 5000 << 10, true},
		"a limit of the group above, pages of files": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1000\n",
			"sys/fs/cgroup/a/memory.max": "9000\n", "sys/fs/cgroup/a/memory.current": "8000\n", "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 3000\n",
		}, 4000, true},
		"a container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "7000\n", "sys/fs/cgroup/memory.current": "1000\n",
		}, 6000, true},
		"version 1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "7000\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "1000\n", "sys/fs/cgroup/memory/a/memory.stat": "total_inactive_file 500\n",
		}, 6500, true},
		"more than allowed": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "7000\n", "sys/fs/cgroup/memory.current": "8000\n",
		}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, text := range test.files {
				root[path] = &fstest.MapFile{Data: []byte(text)}
			}
			free, known := infer.FreeMemory(root)
			require.Equal(t, test.known, known)
			require.Equal(t, test.free, free)
		})
	}
}
