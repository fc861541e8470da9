package results

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Part is one of several parts of a run: every so many-th unit. The zero Part is no part: the run as a whole.
type Part struct {
	Number int // 1 to Of
	Of     int
}

// maxParts is more than there are machines.
const maxParts = 1 << 20

// Has reports whether a unit belongs to the part.
func (p Part) Has(unit int) bool { return p.Of <= 1 || unit%p.Of == p.Number-1 }

// IsAll reports whether there is nothing beside the part.
func (p Part) IsAll() bool { return p.Of <= 1 }

func (p Part) String() string { return fmt.Sprintf("%d/%d", p.Number, p.Of) }

// ErrPart is wrapped by errors about what is no part.
var ErrPart = errors.New("not a part of a run, such as 2/4 or auto")

// ParsePart reads I/N, or what the environment says to one of several processes: auto, or auto/N
// where it does not say how many there are. That is a task of a Slurm array, a pod of an indexed job of Kubernetes, or a process of
// Open MPI, or of another MPI that sets PMI_RANK.
func ParsePart(s string, getenv func(string) string) (Part, error) {
	first, of, divided := strings.Cut(s, "/")
	n := 0
	if divided {
		var err error
		if n, err = strconv.Atoi(of); err != nil || n < 1 || n > maxParts {
			return Part{}, fmt.Errorf("%q: %w", s, ErrPart)
		}
	}
	var p Part
	switch number, err := strconv.Atoi(first); {
	case first == "auto":
		if p, err = environment(getenv, n); err != nil {
			return Part{}, err
		}
		if n > 0 && p.Of != n {
			return Part{}, fmt.Errorf("%w: it is to be one of %d, but the environment says %v", ErrPart, n, p)
		}
	case err != nil || !divided:
		return Part{}, fmt.Errorf("%q: %w", s, ErrPart)
	default:
		p = Part{number, n}
	}
	if p.Number < 1 || p.Number > p.Of || p.Of > maxParts {
		return Part{}, fmt.Errorf("%v: %w: the first number is from 1 to the second", p, ErrPart)
	}
	return p, nil
}

// environment returns the part that schedulers say a process is. Of is how many there are if they do not say.
func environment(getenv func(string) string, of int) (Part, error) {
	number := func(name string) (int, error) {
		n, err := strconv.Atoi(getenv(name))
		if err != nil {
			return 0, fmt.Errorf("%w: %s is %q", ErrPart, name, getenv(name))
		}
		return n, nil
	}
	if getenv("SLURM_ARRAY_TASK_ID") != "" {
		var task [4]int
		for i, name := range []string{"ID", "MIN", "STEP", "COUNT"} {
			name = "SLURM_ARRAY_TASK_" + name
			if name == "SLURM_ARRAY_TASK_STEP" && getenv(name) == "" {
				task[i] = 1
				continue
			}
			var err error
			if task[i], err = number(name); err != nil {
				return Part{}, err
			}
		}
		id, least, step, count := task[0], task[1], task[2], task[3]
		if step < 1 || (id-least)%step != 0 {
			return Part{}, fmt.Errorf("%w: task %d of a Slurm array from %d in steps of %d", ErrPart, id, least, step)
		}
		return Part{(id-least)/step + 1, count}, nil
	}
	if getenv("JOB_COMPLETION_INDEX") != "" {
		index, err := number("JOB_COMPLETION_INDEX")
		if err == nil && of == 0 {
			err = fmt.Errorf("%w: Kubernetes does not say how many there are: auto/N", ErrPart)
		}
		return Part{index + 1, of}, err
	}
	for _, mpi := range [][2]string{{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}} {
		if getenv(mpi[0]) == "" {
			continue
		}
		rank, err := number(mpi[0])
		if err != nil {
			return Part{}, err
		}
		size, err := number(mpi[1])
		return Part{rank + 1, size}, err
	}
	return Part{}, fmt.Errorf("%w: the environment has no SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, OMPI_COMM_WORLD_RANK or PMI_RANK", ErrPart)
}
