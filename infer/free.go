package infer

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// FreeMemory returns how many bytes a process may take without others being short of them, as Linux says it in the files below
// a root: what is available, or what is left in one of the control groups that the process is in (cgroups(7), version 1 or 2), if that
// is less. Pages of files count as free. It reports false where that is not said, as on other systems.
func FreeMemory(root fs.FS) (int64, bool) {
	free, ok := numbered(root, "proc/meminfo", "MemAvailable:")
	if !ok {
		return 0, false
	}
	free *= 1 << 10
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return free, true
	}
	for line := range strings.Lines(string(groups)) {
		_, group, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, dir, _ := strings.Cut(group, ":")
		version2 := controllers == ""
		if !version2 && controllers != "memory" {
			continue
		}
		for dir = path.Clean("/" + dir); dir != "/"; dir = path.Dir(dir) {
			free = min(free, leftInGroup(root, dir, version2))
		}
		free = min(free, leftInGroup(root, dir, version2))
	}
	return max(free, 0), true
}

// leftInGroup returns how many bytes are left of what a control group may take, math.MaxInt64 if it has no limit.
func leftInGroup(root fs.FS, dir string, version2 bool) int64 {
	base, limit, usage, files := "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if version2 {
		base, limit, usage, files = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
	}
	base = path.Join(base, dir)
	most, ok := number(root, path.Join(base, limit))
	used, known := number(root, path.Join(base, usage))
	if !ok || !known {
		return math.MaxInt64
	}
	reclaimed, _ := numbered(root, path.Join(base, "memory.stat"), files)
	return most - (used - reclaimed)
}

// number returns the number that is all of a file.
func number(root fs.FS, name string) (int64, bool) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	return n, err == nil
}

// numbered returns the number behind a word that begins a line of a file.
func numbered(root fs.FS, name, word string) (int64, bool) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == word {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
