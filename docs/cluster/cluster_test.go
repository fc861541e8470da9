// Package cluster tests the manifests for Kubernetes that are here: that they are what its API takes, and that what their containers
// run does what they are for. It is a module of its own, since ggufkit needs nothing of Kubernetes.
package cluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// read returns a manifest. What the API does not know is an error, as is what is written twice.
func read(t *testing.T, name string) batch.Job {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var job batch.Job
	require.NoError(t, yaml.UnmarshalStrict(data, &job), name)
	require.Equal(t, "batch/v1", job.APIVersion)
	require.Equal(t, "Job", job.Kind)
	return job
}

func manifests(t *testing.T) []string {
	names, err := filepath.Glob("*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

func TestManifestsAreOfTheAPI(t *testing.T) {
	for _, name := range manifests(t) {
		job := read(t, name)
		pod := job.Spec.Template.Spec
		require.Equal(t, core.RestartPolicyNever, pod.RestartPolicy, "%s: as failed pods are counted by index", name)
		require.Len(t, pod.Containers, 1)
		container := pod.Containers[0]
		require.Equal(t, container.Resources.Limits, container.Resources.Requests, name)
		require.NotZero(t, container.Resources.Requests.Memory().Value(), name)
		require.NotZero(t, container.Resources.Requests.Cpu().Value(), name)

		volumes := make(map[string]bool)
		for _, volume := range pod.Volumes {
			volumes[volume.Name] = true
		}
		require.Len(t, container.VolumeMounts, len(volumes), name)
		for _, mount := range container.VolumeMounts {
			require.True(t, volumes[mount.Name], "%s: %s", name, mount.Name)
		}

		part := ""
		for _, arg := range container.Args {
			if value, ok := strings.CutPrefix(arg, "--part="); ok {
				part = value
			}
		}
		if part == "" {
			require.Nil(t, job.Spec.CompletionMode, name)
			continue
		}
		require.Equal(t, batch.IndexedCompletion, *job.Spec.CompletionMode, name)
		require.Equal(t, fmt.Sprintf("auto/%d", *job.Spec.Completions), part, "%s: as many parts as pods", name)
		require.NotNil(t, job.Spec.BackoffLimitPerIndex, name)
	}
}

// Fields that the API does not have are found.
func TestManifestWithAMistake(t *testing.T) {
	data, err := os.ReadFile("drift.yaml")
	require.NoError(t, err)
	for _, mistake := range [][2]string{{"completions:", "completion:"}, {"memory: 12Gi", "memory: 12 gigabytes"}, {"parallelism: 8", "parallelism: eight"}} {
		wrong := bytes.Replace(data, []byte(mistake[0]), []byte(mistake[1]), 1)
		require.NotEqual(t, data, wrong)
		require.Error(t, yaml.UnmarshalStrict(wrong, new(batch.Job)), mistake[1])
	}
}

// cluster runs what containers run, in directories instead of volumes.
type cluster struct {
	*testing.T
	ggufkit string
	volumes string
}

func newCluster(t *testing.T) cluster {
	c := cluster{t, filepath.Join(t.TempDir(), "ggufkit"), t.TempDir()}
	build := exec.Command("go", "build", "-o", c.ggufkit, "./cmd/ggufkit")
	build.Dir = filepath.Join("..", "..")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, dir := range []string{"models", "made", "kept"} {
		require.NoError(t, os.Mkdir(filepath.Join(c.volumes, dir), 0o777))
	}
	testdata, err := filepath.Abs(filepath.Join("..", "..", "testdata"))
	require.NoError(t, err)
	c.run(nil, "convert", filepath.Join(testdata, "beyonder-mini", "moe.yaml"), filepath.Join(c.volumes, "models", "model"+".gguf"))
	require.NoError(t, os.Rename(filepath.Join(c.volumes, "models", "model.gguf"), filepath.Join(c.volumes, "models", "model")))
	text, err := os.ReadFile(filepath.Join(testdata, "texts", "wiki.txt"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.volumes, "models", "wiki.txt"), text, 0o666))
	return c
}

// run runs ggufkit, and returns what it prints.
func (c cluster) run(environment []string, args ...string) string {
	c.Helper()
	command := exec.Command(c.ggufkit, args...)
	command.Env = append(append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000"), environment...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	require.NoError(c, err, "%v: %s", args, &stderr)
	return string(output)
}

// args returns what the container of a manifest is told, with paths that are of this machine.
func (c cluster) args(name string) (job batch.Job, args []string) {
	job = read(c.T, name)
	container := job.Spec.Template.Spec.Containers[0]
	for _, arg := range container.Args {
		for _, mount := range container.VolumeMounts {
			if at := strings.Index(arg, mount.MountPath+"/"); at == 0 || at > 0 && arg[at-1] == '=' {
				arg = arg[:at] + c.volumes + arg[at:]
			}
		}
		args = append(args, arg)
	}
	return job, args
}

// pods runs the pods of an indexed job, the last first.
func (c cluster) pods(name string) {
	job, args := c.args(name)
	for index := int(*job.Spec.Completions) - 1; index >= 0; index-- {
		c.run([]string{fmt.Sprintf("JOB_COMPLETION_INDEX=%d", index)}, args...)
	}
}

// What pods of drift.yaml measure, report.yaml reports: the figures of one process.
func TestDrift(t *testing.T) {
	c := newCluster(t)
	c.pods("drift.yaml")
	_, args := c.args("report.yaml")
	report := c.run(nil, append(args, "--json")...)
	var alone []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "--results=") {
			alone = append(alone, arg)
		}
	}
	require.Len(t, alone, len(args)-1)
	other := regexp.MustCompile(`"(seconds|tokens_per_second|read_bytes|readings|command)": .*`)
	require.Equal(t, other.ReplaceAllString(c.run(nil, append(alone, "--json")...), ""), other.ReplaceAllString(report, ""))
}

// What pods of quantize.yaml write is the file of one process, in several.
func TestQuantize(t *testing.T) {
	c := newCluster(t)
	c.pods("quantize.yaml")
	c.joinsToOne(read(t, "quantize.yaml"), filepath.Join(c.volumes, "made", "big"))
}

// What pods of publish.yaml write are the files of one process, in several, and the same command without a part ends it.
func TestPublish(t *testing.T) {
	c := newCluster(t)
	c.pods("publish.yaml")
	job, args := c.args("publish.yaml")
	var whole []string
	for _, arg := range args {
		if !strings.HasPrefix(arg, "--part=") {
			whole = append(whole, arg)
		}
	}
	c.run(nil, whole...)
	out := filepath.Join(c.volumes, "made", "out")
	require.FileExists(t, filepath.Join(out, "README.md"))
	require.FileExists(t, filepath.Join(out, "SHA256SUMS"))
	c.joinsToOne(job, filepath.Join(out, "big-Q4_K_M"))
}

// joinsToOne requires that split files, one of each pod of a job, are together what one process makes of the model in Q4_K_M.
func (c cluster) joinsToOne(job batch.Job, split string) {
	dir := filepath.Dir(split)
	joined, one := filepath.Join(dir, "joined.gguf"), filepath.Join(dir, "one.gguf")
	c.run(nil, "join", fmt.Sprintf("%s-00001-of-%05d.gguf", split, *job.Spec.Completions), joined, "--clean")
	c.run(nil, "quantize", filepath.Join(c.volumes, "models", "model"), one, "Q4_K_M")
	want, err := os.ReadFile(one)
	require.NoError(c, err)
	got, err := os.ReadFile(joined)
	require.NoError(c, err)
	require.True(c, bytes.Equal(want, got))
}
