package results

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
)

// Place is where the results of runs are kept, for whoever divides them into units.
type Place struct {
	Storage Storage
	Part    Part
	// Facts are what the results depend on, beside what Open is told.
	Facts []gguf.Fact
	// Check, if not nil, is called before anything is kept. An error says that it would be wrong: that a model is not what
	// it was.
	Check func() error
	// Look has nothing done: what is kept is read, if it is all.
	Look bool
	// Note, if not nil, is told what was noticed that has no effect but that something is done again.
	Note func(string)
}

// title is what the first record of a file says of the run.
type title struct {
	What  string      `json:"what"`
	Units int         `json:"units"`
	Facts []gguf.Fact `json:"facts"`
}

// key returns what tells the run from all others.
func (t title) key() (k key, err error) {
	text, err := json.Marshal(t)
	sum := sha256.Sum256(text)
	copy(k[:], sum[:])
	return k, err
}

// other says in what an earlier run, of the same kind, differs from that of now.
func (t title) other(now title) string {
	if changed := gguf.Changed(t.Facts, now.Facts); changed != "" {
		return changed
	}
	return fmt.Sprintf("it has %d units, now there are %d", t.Units, now.Units)
}

const suffix = ".results"

// Store has the results of a run. Its methods may be called at the same time.
type Store struct {
	ctx   context.Context
	place *Place
	title title
	key   key

	mu     sync.Mutex
	units  map[int]*unit
	parts  int // of which the run was the last time, 0 if it was not divided
	log    Log // nil until something is kept
	name   string
	size   int64 // of the log
	broken error // why nothing more is kept
	now    int   // units that this Store has kept
}

// unit is what is known of one.
type unit struct {
	found
	file    string
	contest bool // there are others of the same attempt with other data
}

// Open looks at what there is of a run. What, a word for a kind of run, begins the names of its files. The caller must close the Store.
func (p *Place) Open(ctx context.Context, what string, units int, facts ...gguf.Fact) (*Store, error) {
	s := &Store{ctx: ctx, place: p, title: title{What: what, Units: units, Facts: slices.Concat(p.Facts, facts)}, units: make(map[int]*unit)}
	if units < 0 || int64(units) > maxUnits {
		return nil, fmt.Errorf("results: a run of %d units", units)
	}
	var err error
	if s.key, err = s.title.key(); err != nil {
		return nil, err
	}
	names, err := p.Storage.List(".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var others []string // files of other runs
	for _, name := range names {
		rest, ours := strings.CutPrefix(name, what+"-")
		if !ours || !strings.HasSuffix(name, suffix) {
			continue
		}
		own, ours := strings.CutPrefix(rest, s.shortKey()+"-")
		switch {
		case !ours:
			others = append(others, name)
		case !s.elsewhere(own):
			if err := s.read(name); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Storage.Path(name), err)
			}
		}
	}
	s.noteUnits()
	if len(s.units) > 0 {
		return s, nil
	}
	count := make(map[string]int) // by what is other
	for _, name := range others {
		other, err := s.difference(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Storage.Path(name), err)
		}
		count[other]++
	}
	for _, other := range slices.Sorted(maps.Keys(count)) {
		s.note("%s has results of another run, which are left alone: %s (files: %d)", p.Storage.Path("."), other, count[other])
	}
	return s, nil
}

// elsewhere reports whether a file, by what its name says behind the key, has none of the units of the part to do. With hundreds of machines,
// each reads what it has left itself, and not what all have.
func (s *Store) elsewhere(name string) bool {
	own, _, _ := strings.Cut(name, "-")
	of, err := ParsePart(strings.Replace(own, partInfix, "/", 1), func(string) string { return "" })
	if err != nil || of.IsAll() {
		return false
	}
	s.parts = of.Of
	return s.place.Part.Of == of.Of && s.place.Part.Number != of.Number
}

// partInfix is what stands between the numbers of a part in the name of a file.
const partInfix = "of"

func (s *Store) shortKey() string { return hex.EncodeToString(s.key[:8]) }

func (s *Store) note(format string, args ...any) {
	if s.place.Note != nil {
		s.place.Note(fmt.Sprintf(format, args...))
	}
}

// read takes over the records of a file.
func (s *Store) read(name string) error {
	f, err := s.place.Storage.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	foreign := 0
	damaged, err := scan(s.ctx, f, f.Size(), func(r found) {
		switch {
		case r.key != s.key:
			foreign++
		case r.unit == titleUnit:
		case r.unit >= uint64(s.title.Units):
			foreign++
		default:
			s.add(name, r)
		}
	})
	if err != nil {
		return err
	}
	if foreign > 0 {
		s.note("%s: records of another run, which are left alone: %d", s.place.Storage.Path(name), foreign)
	}
	if damaged > 0 {
		s.note("%s: %d bytes are of no whole record: it was cut off, or damaged; what they were is done again", s.place.Storage.Path(name), damaged)
	}
	return nil
}

// difference says what is other in the run of a file.
func (s *Store) difference(name string) (string, error) {
	f, err := s.place.Storage.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, _, ok, err := readRecord(f, 0, f.Size())
	if err != nil {
		return "", err
	}
	var t title
	if ok && r.unit == titleUnit {
		data, err := readData(f, r)
		if err != nil {
			return "", err
		}
		ok = json.Unmarshal(data, &t) == nil
	}
	if !ok {
		return "what it was cannot be read", nil
	}
	return t.other(s.title), nil
}

// add takes over a record.
func (s *Store) add(file string, r found) {
	n := int(r.unit)
	known := s.units[n]
	switch {
	case known == nil || r.attempt > known.attempt:
		s.units[n] = &unit{found: r, file: file}
	case r.attempt == known.attempt && r.sum != known.sum:
		known.contest = true
	}
}

// noteUnits says what is wrong with records that are whole.
func (s *Store) noteUnits() {
	contested := 0
	for _, u := range s.units {
		if u.contest {
			contested++
		}
	}
	if contested > 0 {
		s.note("%s: units with records that contradict each other, which are done again: %d", s.place.Storage.Path("."), contested)
	}
}

// Has reports whether the result of a unit is known to be there.
func (s *Store) Has(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has(n)
}

func (s *Store) has(n int) bool {
	u := s.units[n]
	return u != nil && !u.contest
}

// Missing returns the units to do now: those of the part that are not there. Without a part, it is none if the run was
// divided: other machines may be at work. The part 1/1 is all that is missing. With Place.Look, it is none.
func (s *Store) Missing() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place.Look || s.place.Part.Of == 0 && s.parts > 0 {
		return nil
	}
	return s.missing(s.place.Part)
}

func (s *Store) missing(p Part) (missing []int) {
	first, step := 0, 1
	if !p.IsAll() {
		first, step = p.Number-1, p.Of
	}
	for n := first; n < s.title.Units; n += step {
		if !s.has(n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// Keep keeps results. They are durable when it returns.
func (s *Store) Keep(records ...Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil && s.place.Check != nil {
		s.broken = s.place.Check()
	}
	if s.broken == nil {
		s.broken = s.keep(records)
	}
	return s.broken
}

func (s *Store) keep(records []Record) error {
	var b []byte
	if s.log == nil {
		if err := s.create(); err != nil {
			return fmt.Errorf("results: %w", err)
		}
		text, err := json.Marshal(s.title)
		if err != nil {
			return err
		}
		b = appendRecord(b, s.key, 0, titleUnit, nil, text)
	}
	kept := make([]found, len(records))
	for i, r := range records {
		cost, err := json.Marshal(r.Cost)
		if err != nil {
			return err
		}
		if r.Unit < 0 || r.Unit >= s.title.Units || len(cost) > maxCost || len(r.Data) > maxData {
			return fmt.Errorf("results: unit %d of %d, with %d bytes", r.Unit, s.title.Units, len(r.Data))
		}
		attempt := uint32(0)
		if u := s.units[r.Unit]; u != nil {
			attempt = u.attempt
			if u.contest {
				attempt++
			}
		}
		start := len(b)
		b = appendRecord(b, s.key, attempt, uint64(r.Unit), cost, r.Data)
		kept[i].header, _ = parseHeader(b[start:])
		kept[i].cost, kept[i].offset = r.Cost, s.size+int64(start+headerSize+len(cost))
	}
	if err := s.log.Append(b); err != nil {
		return fmt.Errorf("results: %s: %w", s.place.Storage.Path(s.name), err)
	}
	s.size += int64(len(b))
	for _, r := range kept {
		if !s.has(int(r.unit)) {
			s.now++
		}
		s.add(s.name, r)
	}
	return nil
}

// create begins the file of this worker.
func (s *Store) create() (err error) {
	part := ""
	if p := s.place.Part; !p.IsAll() {
		part = fmt.Sprintf("%d%s%d-", p.Number, partInfix, p.Of)
	}
	for range 8 {
		s.name = fmt.Sprintf("%s-%s-%s%016x%s", s.title.What, s.shortKey(), part, rand.Uint64(), suffix)
		if s.log, err = s.place.Storage.Create(s.name); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

// Get returns the data of a unit that is there.
func (s *Store) Get(n int) ([]byte, Cost, error) {
	s.mu.Lock()
	u := s.units[n]
	there := s.has(n)
	s.mu.Unlock()
	if !there {
		return nil, Cost{}, fmt.Errorf("results: unit %d: %w", n, fs.ErrNotExist)
	}
	f, err := s.place.Storage.Open(u.file)
	if err != nil {
		return nil, Cost{}, err
	}
	defer f.Close()
	data, err := readData(f, u.found)
	if err != nil {
		return nil, Cost{}, fmt.Errorf("%s: unit %d: %w", f.Name(), n, err)
	}
	return data, u.cost, nil
}

// Corrupt returns an error about the data of a unit that are not what they should be.
func (s *Store) Corrupt(n int, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("%s: unit %d: %w: %w", s.place.Storage.Path(s.units[n].file), n, gguf.ErrCorrupt, err)
}

// Finish returns nil if the run is done and its report to be made, else a *Partial.
func (s *Store) Finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	part := s.place.Part
	missing := s.missing(part)
	if part.IsAll() && len(missing) == 0 {
		return nil
	}
	p := &Partial{Place: s.place.Storage.Path("."), Part: part, Now: s.now}
	for n := range s.title.Units {
		if part.Has(n) {
			p.Units++
		}
	}
	parts := max(s.parts, 1)
	if !part.IsAll() {
		parts = part.Of
	}
	count := make(map[int]int)
	for _, n := range missing {
		count[n%parts]++
	}
	for _, i := range slices.Sorted(maps.Keys(count)) {
		p.Missing = append(p.Missing, Missing{Part{i + 1, parts}, count[i]})
	}
	return p
}

// ReadAll calls read with what is kept of each unit, in their order, if the run is done; else its error is that of Finish. An error of
// read means that the data are not what they should be.
func (s *Store) ReadAll(read func(unit int, data []byte, cost Cost) error) error {
	if err := s.Finish(); err != nil {
		return err
	}
	for n := range s.title.Units {
		data, cost, err := s.Get(n)
		if err != nil {
			return err
		}
		if err := read(n, data, cost); err != nil {
			return s.Corrupt(n, err)
		}
	}
	return nil
}

// Close ends the work. What was kept stays.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil
	}
	err := s.log.Close()
	s.log, s.broken = nil, fs.ErrClosed
	return err
}

// Partial is the error of a run that has no report: this process was to do a part of it, which it has, or units are missing.
type Partial struct {
	Place   string
	Part    Part // of this process
	Units   int  // of the part, or of all
	Now     int  // those that this process has done
	Missing []Missing
}

// Missing is how many units of a part are missing.
type Missing struct {
	Part  Part
	Units int
}

// Done reports whether the process has done its part: there is nothing wrong.
func (p *Partial) Done() bool { return !p.Part.IsAll() && len(p.Missing) == 0 }

// And returns both of what two runs that belong together ended with, p of the first, nil if it is done, and err of the second.
func (p *Partial) And(err error) error {
	second := (*Partial)(nil)
	switch partial := errors.As(err, &second); {
	case p == nil || err != nil && !partial:
		return err
	case err == nil:
		return p
	}
	sum := *second
	sum.Units, sum.Now = p.Units+second.Units, p.Now+second.Now
	sum.Missing = slices.Clone(p.Missing)
	for _, m := range second.Missing {
		if i := slices.IndexFunc(sum.Missing, func(other Missing) bool { return other.Part == m.Part }); i >= 0 {
			sum.Missing[i].Units += m.Units
		} else {
			sum.Missing = append(sum.Missing, m)
		}
	}
	slices.SortFunc(sum.Missing, func(a, b Missing) int {
		return cmp.Or(cmp.Compare(a.Part.Of, b.Part.Of), cmp.Compare(a.Part.Number, b.Part.Number))
	})
	return &sum
}

// shownParts is how many parts an error names.
const shownParts = 8

func (p *Partial) Error() string {
	if p.Done() {
		return fmt.Sprintf("part %v is done, which makes no report", p.Part)
	}
	there := p.Units
	var of []string
	for _, m := range p.Missing {
		there -= m.Units
		if len(of) < shownParts {
			of = append(of, fmt.Sprintf("%d of part %v", m.Units, m.Part))
		}
	}
	if more := len(p.Missing) - len(of); more > 0 {
		of = append(of, fmt.Sprintf("those of %d more parts", more))
	}
	return fmt.Sprintf("%s has %d of %d units of this run; missing are %s. Run these parts again, or all that is missing as --part 1/1",
		p.Place, there, p.Units, strings.Join(of, ", "))
}
