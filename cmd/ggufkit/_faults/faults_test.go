package faults_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/cmd/ggufkit/faults"
)

var every = flag.Int("every", 1, "only each so many-th fault of an operation, and the first and last")

// program is built once.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		panic(err)
	}
	program = os.Getenv("GGUFKIT")
	if program == "" {
		program = filepath.Join(dir, "ggufkit")
		build := exec.Command("go", "build", "-o", program, "./cmd/ggufkit")
		build.Dir, build.Stderr = "../../..", os.Stderr
		err = build.Run()
	}
	status := 1
	if err == nil {
		status = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(status)
}

// place is a directory that the program sees through a file system with faults.
type place struct {
	below, seen string
	fsys        *faults.FS
}

func newPlace(t *testing.T, options faults.Options) place {
	p := place{below: t.TempDir(), seen: t.TempDir()}
	var err error
	p.fsys, err = faults.Mount(p.below, p.seen, options)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EPERM) {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.fsys.Unmount()) })
	return p
}

// result is what a run of the program came to.
type result struct {
	status         int
	stdout, stderr string
}

// run runs the program; PLACE in arguments is the place.
func (p place) run(t *testing.T, args []string) result {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, program)
	for _, arg := range args {
		c.Args = append(c.Args, strings.ReplaceAll(arg, "PLACE", p.seen))
	}
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "GOMAXPROCS=2")
	err := c.Run()
	require.NoError(t, ctx.Err(), "it hangs: %s", stderr.String())
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	r := result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	for _, bad := range []string{"panic", "goroutine ", "SIGBUS", "fatal error"} {
		require.NotContains(t, r.stderr, bad)
	}
	require.Contains(t, []int{0, 1, 3}, r.status, r.stderr) // 3 is what verify found
	return r
}

// files returns the content of all files in a directory, by their names below it.
func files(t *testing.T, dir string) map[string]string {
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(data)
		return err
	}))
	return all
}

// fill makes the place what it was, with a model, a text and the files of somebody else.
func (p place) fill(t *testing.T, in, out map[string]string) {
	for _, dir := range []string{"in", "out"} {
		require.NoError(t, os.RemoveAll(filepath.Join(p.below, dir)))
		require.NoError(t, os.Mkdir(filepath.Join(p.below, dir), 0o777))
	}
	for dir, content := range map[string]map[string]string{"in": in, "out": out} {
		for name, data := range content {
			path := filepath.Join(p.below, dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
			require.NoError(t, os.WriteFile(path, []byte(data), 0o666))
		}
	}
}

const repository = "../../.."

// inputs are a merge recipe with its models, and the same as a file.
func inputs(t *testing.T) map[string]string {
	in := files(t, filepath.Join(repository, "testdata/beyonder-mini"))
	path := filepath.Join(t.TempDir(), "model.gguf")
	output, err := exec.Command(program, "convert", filepath.Join(repository, "testdata/beyonder-mini/moe.yaml"), path, "--type", "BF16").CombinedOutput()
	require.NoError(t, err, "%s", output)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	in["model.gguf"] = string(data)
	text, err := os.ReadFile(filepath.Join(repository, "testdata/texts/math.txt"))
	require.NoError(t, err)
	in["text.txt"] = string(text[:2000])
	return in
}

// What stays after a fault, for the next run: unfinished work, kept results, and the record of which files are whole.
var unfinished = regexp.MustCompile(`\.partial(\.journal)?$|\.results$|\.ggufkit-publish\.json$`)

// figures that no two runs have in common.
var varying = regexp.MustCompile(`"(seconds|tokens_per_second|read_bytes|readings|command)": [^\n]*`)

var writers = []struct {
	name    string
	args    []string
	options faults.Options
	old     string // a file of before, which is replaced
}{
	{"convert", []string{"convert", "PLACE/in/moe.yaml", "PLACE/out/new.gguf", "--type", "Q4_K_M", "--quiet"}, faults.Options{}, ""},
	{"quantize", []string{"quantize", "PLACE/in/model.gguf", "PLACE/out/new.gguf", "Q4_0", "--quiet", "--force"}, faults.Options{Direct: true}, "new.gguf"},
	{"split", []string{"split", "PLACE/in/model.gguf", "PLACE/out/new.gguf", "--split-max-size", "4M", "--quiet"}, faults.Options{}, ""},
	{"publish", []string{"publish", "PLACE/in/model.gguf", "PLACE/out/new", "--types", "Q4_0,Q6_K", "--quiet"}, faults.Options{}, ""},
	{"drift", []string{
		"drift", "PLACE/in/model.gguf", "-f", "PLACE/in/text.txt", "--ctx", "32", "--chunks", "2", "--types", "Q4_0", "--results", "PLACE/out/kept",
		"--json", "--no-progress",
	}, faults.Options{}, ""},
}

// Whatever fails once, or fails from then on: there is an error that says what of which file, no half of an output, nothing of
// others is touched, and the same command does it afterwards, to the same bytes.
func TestOutputIsWholeOrAbsent(t *testing.T) {
	in := inputs(t)
	for _, w := range writers {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, w.options)
			before := map[string]string{"theirs.gguf": "of somebody else", ".theirs.tmp": "too"}
			if w.old != "" {
				before[w.old] = "what was there"
			}
			p.fill(t, in, before)
			p.fsys.Arm(faults.Fault{})
			clean := p.run(t, w.args)
			require.Zero(t, clean.status, clean.stderr)
			want := files(t, filepath.Join(p.below, "out"))
			counts := make(map[faults.Operation]int)
			for _, o := range operations {
				counts[o] = p.fsys.Count(o)
			}
			faulty, unharmed := 0, 0
			for _, o := range operations {
				if o == faults.ShortRead && !w.options.Direct {
					continue // the kernel takes what is missing for zeros
				}
				for n := 1; n <= counts[o]; n++ {
					if n%*every != 1%*every && n != counts[o] {
						continue
					}
					fault := faults.Fault{Operation: o, N: n, Error: syscall.EIO}
					switch o {
					case faults.ShortRead:
						fault.Error = 0
					case faults.Read: // what the kernel reads ahead in vain it tries again
						fault.Stays = true
					case faults.Write, faults.Create, faults.Mkdir, faults.Allocate, faults.Link:
						fault.Error, fault.Stays = syscall.ENOSPC, true
					}
					p.fill(t, in, before)
					p.fsys.Arm(fault)
					got := p.run(t, w.args)
					happened := p.fsys.Happened()
					p.fsys.Arm(faults.Fault{})
					after := files(t, filepath.Join(p.below, "out"))
					require.Equal(t, in, files(t, filepath.Join(p.below, "in")), fault)
					if got.status == 0 {
						unharmed++
						requireSame(t, clean, want, got, after, fault)
						continue
					}
					faulty++
					require.True(t, happened, fault)
					if o != faults.ShortRead {
						require.Contains(t, got.stderr, fault.Error.Error(), fault)
					}
					require.Regexp(t, p.seen+`|new|in/|\.results`, got.stderr, fault)
					for name, data := range after {
						switch {
						case has(before, name, data), has(want, name, data):
						case unfinished.MatchString(name):
						case o == faults.Remove && strings.Contains(name, ".tmp-"): // it could not be removed
						default:
							require.Failf(t, "part of an output", "%v: %s, %d bytes: %s", fault, name, len(data), got.stderr)
						}
					}
					for name := range before {
						require.Contains(t, after, name, fault)
					}
					again := p.run(t, retry(w.args, after))
					require.Zero(t, again.status, "%v: %s; then %s", fault, got.stderr, again.stderr)
					requireSame(t, clean, want, again, files(t, filepath.Join(p.below, "out")), fault)
				}
			}
			t.Logf("%d faults were errors, %d did no harm: %v", faulty, unharmed, counts)
		})
	}
}

func has(files map[string]string, name, data string) bool {
	is, ok := files[name]
	return ok && is == data
}

var operations = []faults.Operation{
	faults.Stat, faults.List, faults.Open, faults.Read, faults.ShortRead, faults.Write, faults.Sync, faults.Close, faults.Create, faults.Mkdir,
	faults.Allocate, faults.SetAttr, faults.Rename, faults.Link, faults.Remove,
}

// retry is the command after it failed: what failed behind the last step has left an output that is whole.
func retry(args []string, after map[string]string) []string {
	if args[0] == "convert" || args[0] == "split" {
		for name := range after {
			if strings.HasPrefix(name, "new") && strings.HasSuffix(name, ".gguf") {
				return append(args[:len(args):len(args)], "--force")
			}
		}
	}
	return args
}

func requireSame(t *testing.T, clean result, want map[string]string, got result, now map[string]string, fault faults.Fault) {
	require.Equal(t, varying.ReplaceAllString(clean.stdout, ""), varying.ReplaceAllString(got.stdout, ""), fault)
	for name, data := range want {
		if !unfinished.MatchString(name) && !report.MatchString(name) {
			require.True(t, now[name] == data, "%v: %s is not what it was: %d bytes, and %d", fault, name, len(now[name]), len(data))
		}
	}
	for name := range now {
		if _, ok := want[name]; !ok && !strings.HasSuffix(name, ".results") && !(fault.Operation == faults.Remove && strings.Contains(name, ".tmp-")) {
			require.Failf(t, "it stays", "%v: %s", fault, name)
		}
	}
}

// report matches what has times, or the sums of such files.
var report = regexp.MustCompile(`\.json$|\.html$|SHA256SUMS$|README\.md$|\.results$`)

var readers = []struct {
	name    string
	args    []string
	options faults.Options
}{
	{"inspect", []string{"inspect", "PLACE/in/model.gguf", "--json"}, faults.Options{Direct: true}},
	{"hash", []string{"hash", "PLACE/in/model.gguf"}, faults.Options{Direct: true}},
	{"verify", []string{"verify", "PLACE/in/model.gguf", "--no-progress"}, faults.Options{Direct: true}},
	{"diff", []string{"diff", "PLACE/in/model.gguf", "PLACE/in/model.gguf"}, faults.Options{}},
	{"tokenize", []string{"tokenize", "PLACE/in/model.gguf", "-p", "one two"}, faults.Options{}},
	{"perplexity", []string{"perplexity", "PLACE/in/moe.yaml", "-f", "PLACE/in/text.txt", "--ctx", "32", "--chunks", "2", "--json", "--no-progress"}, faults.Options{}},
	// These map the file: what cannot be read is a fault of memory.
	{"generate", []string{"generate", "PLACE/in/model.gguf", "-p", "one two", "-n", "4", "--temp", "0", "--quiet"}, faults.Options{}},
	{"generate of a recipe", []string{"generate", "PLACE/in/moe.yaml", "-p", "one two", "-n", "4", "--temp", "0", "--quiet"}, faults.Options{}},
	{"logits", []string{"logits", "PLACE/in/model.gguf", "--tokens", "1,2,3", "--greedy", "2"}, faults.Options{}},
}

// What cannot be read is an error that names the file, also where it is mapped, and not the end of the program.
func TestReadsFail(t *testing.T) {
	in := inputs(t)
	for _, r := range readers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, r.options)
			p.fill(t, in, nil)
			p.fsys.Arm(faults.Fault{})
			clean := p.run(t, r.args)
			require.Zero(t, clean.status, clean.stderr)
			counts := map[faults.Operation]int{faults.Read: p.fsys.Count(faults.Read)}
			if r.options.Direct {
				counts[faults.ShortRead] = p.fsys.Count(faults.ShortRead)
			}
			faulty, unharmed := 0, 0
			for o, count := range counts {
				for n := 1; n <= count; n++ {
					if n%*every != 1%*every && n != count {
						continue
					}
					fault := faults.Fault{Operation: o, N: n, Error: syscall.EIO, Stays: o == faults.Read}
					p.fsys.Arm(fault)
					got := p.run(t, r.args)
					if got.status == 0 { // what was read ahead was not needed, or the rest of what was short was read
						unharmed++
						require.Equal(t, varying.ReplaceAllString(clean.stdout, ""), varying.ReplaceAllString(got.stdout, ""), fault)
						continue
					}
					faulty++
					require.Regexp(t, "input/output error|cannot be read|ends? |cut", got.stdout+got.stderr, fault)
					require.Contains(t, got.stdout+got.stderr, "/in/", fault)
				}
			}
			t.Logf("%d faults were errors, %d did no harm: %v", faulty, unharmed, counts)
		})
	}
}

// A clock that is wrong is nobody's concern; a file whose time changes while it is read has changed.
func TestClocks(t *testing.T) {
	in := inputs(t)
	args := []string{"quantize", "PLACE/in/model.gguf", "PLACE/out/new.gguf", "Q4_0", "--resume"}
	var want map[string]string
	for name, clock := range map[string]func(time.Time) time.Time{
		"right":              nil,
		"1901":               func(time.Time) time.Time { return time.Unix(-1<<31, 0) },
		"2400":               func(t time.Time) time.Time { return t.AddDate(400, 0, 0) },
		"runs the other way": func(t time.Time) time.Time { return time.Unix(4e9, 0).Add(time.Unix(0, 0).Sub(t)) },
	} {
		p := newPlace(t, faults.Options{Clock: clock})
		p.fill(t, in, nil)
		p.fsys.Arm(faults.Fault{Operation: faults.Write, N: 3, Error: syscall.EIO})
		require.Equal(t, 1, p.run(t, args).status, name)
		p.fsys.Arm(faults.Fault{})
		got := p.run(t, args)
		require.Zero(t, got.status, "%s: %s", name, got.stderr)
		now := files(t, filepath.Join(p.below, "out"))
		require.Len(t, now, 1)
		if want == nil {
			want = now
		}
		require.True(t, now["new.gguf"] == want["new.gguf"], name)
	}
	start := time.Now()
	p := newPlace(t, faults.Options{Clock: func(t time.Time) time.Time { return t.Add(-time.Since(start)) }})
	p.fill(t, in, nil)
	got := p.run(t, args)
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "changed")
	require.Empty(t, files(t, filepath.Join(p.below, "out")))
}
