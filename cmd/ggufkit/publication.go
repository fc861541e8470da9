package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	measure "github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/publish"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// publication is the work of one run.
type publication struct {
	*call
	flags           publishFlags
	model           *model
	folder          *publish.Folder
	name            string
	types, optional []recipe.FileType
	texts           []textFile // to measure on
	calibration     []textFile // to measure an importance matrix on
	importance      *imatrix.Matrix
	set             *publish.Set
	commit          string   // where what was uploaded can be seen
	beside          []string // names of the files that stand beside those of the model
}

func (p *publication) readTexts() (err error) {
	if p.texts, err = p.flags.read(); err != nil || p.flags.imatrix != autoImatrix {
		return err
	}
	calibrate := textFlags{files: p.flags.calibration, ctx: p.flags.ctx, chunks: p.flags.chunks}
	if len(calibrate.files) == 0 {
		calibrate.files = p.flags.files
		if len(calibrate.files) > 0 {
			printNotes(p.call, []string{"the importance matrix is measured on the texts that drift is measured on, which makes types that use it look better than on other " +
				"texts: --calibration"})
		}
	}
	if len(calibrate.files) == 0 {
		return p.usagef("--imatrix auto needs a text: --calibration FILE")
	}
	if slices.Contains(calibrate.files, "-") {
		return p.usagef("a text to measure an importance matrix on cannot be read from standard input, only from a file")
	}
	p.calibration, err = calibrate.read()
	return err
}

// open takes the directory, or only looks at it.
func (p *publication) open(dir string) (*publish.Folder, error) {
	if p.flags.dryRun {
		return publish.Look(dir)
	}
	return publish.OpenPart(dir, p.flags.part)
}

// run does what there is to do, in order.
func (p *publication) run(dir string) error {
	missing, err := p.plan()
	if err != nil {
		return err
	}
	if p.flags.dryRun {
		return p.show(dir, 0)
	}
	if err := files.CheckRoom(dir, p.set.Room(p.folder)); err != nil {
		return err
	}
	if len(p.texts) > 0 || missing {
		if _, err := engineOf(p.model, p.flags.engine(p.call)); err != nil {
			return err
		}
	}
	if missing {
		if err := p.calibrate(); err != nil {
			return about(p.model, err)
		}
	}
	start := time.Now()
	done := &results.Partial{Place: dir, Part: p.flags.part, Units: len(p.set.Own())}
	for _, f := range p.set.Missing() {
		done.Now += len(f.Own())
	}
	if err := p.write(); err != nil {
		return err
	}
	took := time.Since(start)
	absent, err := p.set.Absent(p.folder)
	part := p.flags.part
	switch {
	case err != nil:
		return err
	case !part.IsAll() && (len(absent) > 0 || len(p.texts) == 0):
		return done
	case len(absent) > 0:
		return fmt.Errorf("%s: files of the set that are not there yet: %d of %d, such as %s: run the parts again that make them", dir, len(absent), len(p.set.Names()), absent[0])
	}
	measured, err := p.measure()
	if err != nil {
		return err
	}
	if !part.IsAll() { // and all is measured
		return done
	}
	if err := p.describe(measured); err != nil {
		return err
	}
	where, err := p.upload()
	if err != nil {
		return err
	}
	p.commit = where
	return p.show(dir, took)
}

// plan finds out what there is to make, and whether an importance matrix has to be measured first: the files are then those that it
// will make possible.
func (p *publication) plan() (missing bool, err error) {
	if err := p.checkForeign(besideFiles...); err != nil {
		return false, err
	}
	switch p.flags.imatrix {
	case "":
	case autoImatrix:
		of, err := p.matrixFacts()
		if err != nil {
			return false, err
		}
		state, err := p.folder.Find(p.ctx, p.matrixName(), of, p.force)
		if err != nil {
			return false, p.forced(err)
		}
		if missing = state != publish.Whole; !missing {
			p.importance, err = openMatrix(p.call, p.folder.Path(p.matrixName()))
		}
		if err != nil {
			return false, err
		}
	default:
		if p.importance, err = openMatrix(p.call, p.flags.imatrix); err != nil {
			return false, err
		}
	}
	if err := p.newSet(missing); err != nil {
		return false, err
	}
	if !p.flags.dryRun {
		inputs := inputsOf(slices.Concat([]string{p.model.path}, p.flags.files, p.flags.calibration, p.imatrixFile()))
		for _, name := range slices.Concat(p.set.Names(), besideFiles, []string{p.matrixName()}) {
			if err := files.Check(p.folder.Path(name), true, inputs...); err != nil {
				return false, err
			}
		}
	}
	if missing {
		return true, p.checkForeign(p.set.Own()...)
	}
	return false, p.look()
}

// imatrixFile is the importance matrix that is read, if there is one that was given.
func (p *publication) imatrixFile() []string {
	if p.flags.imatrix == "" || p.flags.imatrix == autoImatrix {
		return nil
	}
	return []string{p.flags.imatrix}
}

// checkForeign refuses to begin if a file that will be written is there and is somebody else's.
func (p *publication) checkForeign(names ...string) error {
	for _, name := range names {
		_, _, err := p.folder.State(p.ctx, name, nil)
		if p.force && errors.Is(err, publish.ErrForeign) {
			continue
		}
		if err != nil {
			return p.forced(err)
		}
	}
	return nil
}

// forced says what to do about files that are in the way.
func (p *publication) forced(err error) error {
	if errors.Is(err, publish.ErrForeign) || errors.Is(err, publish.ErrOther) {
		return fmt.Errorf("%w: take another DIR, or use --force to replace it", err)
	}
	return forceHint(p.call, err)
}

// newSet finds out what the files are. Where the importance matrix is still missing, it is taken to be there.
func (p *publication) newSet(missing bool) error {
	opts := publish.Options{
		View:     quant.ViewOptions{Importance: p.importance, AllowRequantize: p.flags.requantize, DryRun: missing, Recipe: recipe.Options{Imatrix: missing}},
		MaxBytes: p.flags.splitMaxSize,
		Optional: p.optional,
		Share:    gguf.Share(p.flags.part),
	}
	if p.flags.part.IsAll() {
		opts.Share = gguf.Share{Of: p.folder.Parts()}
	}
	importance := "none"
	switch {
	case p.importance == nil:
	case p.flags.imatrix == autoImatrix:
		importance = "SHA-256 " + p.folder.Sum(p.matrixName())
	default:
		importance = filepath.Base(p.importance.Name())
	}
	var err error
	if opts.Facts, err = jobOf(p.model.path, p.model, gguf.Fact{What: "importance matrix", Is: importance}); err != nil {
		return err
	}
	if p.importance != nil && p.flags.imatrix != autoImatrix {
		read, err := gguf.InputFacts(p.importance.Inputs())
		if err != nil {
			return err
		}
		opts.Facts = append(opts.Facts, read...)
	}
	p.set, err = publish.NewSet(p.name, p.model, p.types, opts)
	if err != nil {
		return about(p.model, requantizeHint(err))
	}
	if !missing {
		printNotes(p.call, p.set.Notes())
	}
	return nil
}

// look finds out which files are there.
func (p *publication) look() error {
	if err := p.set.Look(p.ctx, p.folder, p.force); err != nil {
		return p.forced(err)
	}
	var others []string
	for _, name := range p.folder.Names() {
		if strings.HasSuffix(name, ".gguf") && name != p.matrixName() && !slices.Contains(p.set.Names(), name) {
			if _, err := os.Lstat(p.folder.Path(name)); err == nil {
				others = append(others, name)
			}
		}
	}
	if len(others) > 0 {
		slices.Sort(others)
		printNotes(p.call, []string{fmt.Sprintf("an earlier run had other arguments: what it made and this one does not stays, and is not in the card: %s", strings.Join(others, ", "))})
	}
	return nil
}

func (p *publication) matrixName() string { return p.name + "-imatrix.gguf" }

// matrixFacts are what an importance matrix that is measured depends on.
func (p *publication) matrixFacts() ([]gguf.Fact, error) {
	return jobOf(p.model.path, p.model, append(textFacts(p.calibration), gguf.Fact{What: "chunks", Is: fmt.Sprint(p.flags.chunks)})...)
}

func textFacts(texts []textFile) (facts []gguf.Fact) {
	for _, t := range texts {
		facts = append(facts, gguf.Fact{What: "text " + t.file, Is: "SHA-256 " + t.sha256})
	}
	return facts
}

// calibrate measures an importance matrix, and keeps it.
func (p *publication) calibrate() error {
	of, err := p.matrixFacts()
	if err != nil {
		return err
	}
	measured, err := p.measureImatrix()
	if err != nil {
		return err
	}
	src, err := measured.Sums.Source()
	if err != nil {
		return err
	}
	if err := p.folder.Write(p.ctx, p.matrixName(), src, of, p.force); err != nil {
		return p.forced(err)
	}
	if p.importance, err = openMatrix(p.call, p.folder.Path(p.matrixName())); err != nil {
		return err
	}
	if err := p.newSet(false); err != nil {
		return err
	}
	return p.look()
}

// measureImatrix measures the matrix. As a part of a run, it does so from what all have measured, or measures its part, which is an error.
func (p *publication) measureImatrix() (*measure.Measurement, error) {
	flags := imatrixFlags{textFlags: textFlags{ctx: p.flags.ctx, chunks: p.flags.chunks, memory: p.flags.memory}, keepFlags: p.flags.keepFlags}
	if !p.flags.part.IsAll() {
		all := flags
		all.part, all.look = results.Part{}, true
		measured, err := measureImatrix(p.call, all, p.model, p.calibration)
		if partial := (*results.Partial)(nil); !errors.As(err, &partial) {
			return measured, err
		}
	}
	return measureImatrix(p.call, flags, p.model, p.calibration)
}

// write makes the files that are not there.
func (p *publication) write() error {
	var missing []gguf.Source
	for _, f := range p.set.Missing() {
		missing = append(missing, f.View)
	}
	progress := newProgress(p.call, fmt.Sprintf("writing %d files", len(missing)), display.ByteRate)
	defer progress.stop()
	if len(missing) > 0 {
		progress.at = tensorAt(missing...)
	}
	return p.forced(p.set.Write(p.ctx, p.folder, gguf.WriteOptions{Threads: p.threads, Progress: progress.update}))
}

// measure returns how far the files are from the original, as drift says it: what an earlier run has measured of the same, or else what is
// measured now. It is nil without texts.
func (p *publication) measure() ([]byte, error) {
	if len(p.texts) == 0 {
		return nil, nil
	}
	facts := textFacts(p.texts)
	facts = append(facts, gguf.Fact{What: "windows", Is: fmt.Sprintf("%d of %d tokens, %s, %s", p.flags.chunks, p.flags.ctx, p.flags.compute, p.flags.scored)})
	for _, name := range p.set.Names() {
		facts = append(facts, gguf.Fact{What: name, Is: "SHA-256 " + p.folder.Sum(name)})
	}
	of, err := jobOf(p.model.path, p.model, facts...)
	if err != nil {
		return nil, err
	}
	state, _, err := p.folder.State(p.ctx, driftFile, of)
	if err != nil && !errors.Is(err, publish.ErrForeign) {
		return nil, err
	}
	if err == nil && state == publish.Whole {
		return p.folder.Read(driftFile, maxText)
	}
	measured, err := p.measureFiles()
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(measured, "", "  ")
	if err != nil {
		return nil, err
	}
	return data, p.forced(p.folder.Put(p.ctx, driftFile, data, of, p.force))
}

func (p *publication) measureFiles() (measured *report.Drift, err error) {
	in := &driftInput{
		base: p.model, source: p.model, importance: p.importance, flags: &p.flags.textFlags,
		windows: p.flags.windows(), engine: p.flags.engine(p.call), texts: p.texts, hashing: newProvenance(p.call, p.model, p.importance),
	}
	defer in.hashing.Stop()
	measured = &report.Drift{Model: p.model.path, Ctx: p.flags.ctx, Compute: p.flags.compute.String()}
	if p.importance != nil {
		measured.Imatrix = p.importance.Name()
	}
	var models []drift.Candidate
	for _, f := range p.set.Files {
		model, err := openModel(p.call, p.folder.Path(f.Name()))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, model.Close()) }()
		models = append(models, drift.Candidate{Name: f.Type.String(), Source: model})
	}
	kept := in.kept(models)
	for i, f := range p.set.Files {
		var sums []string
		for _, name := range f.Names {
			sums = append(sums, p.folder.Sum(name))
		}
		kept[1+i].sum = strings.Join(sums, " ")
	}
	run, err := newDriftRun(p.call, measured, in)
	if err != nil {
		return nil, err
	}
	if run.options.Results, err = p.flags.place(p.call, in.hashing, p.flags.compute, kept...); err != nil {
		return nil, err
	}
	if _, err := run.measure(p.call, models); err != nil {
		return nil, err
	}
	measured.Provenance, err = in.hashing.Wait()
	return measured, err
}

// describe writes what stands beside the files.
func (p *publication) describe(measured []byte) error {
	var paths []string
	for _, f := range p.set.Files {
		paths = append(paths, p.folder.Path(f.Name()))
	}
	card, err := newCard(p.call, paths, p.flags.settings(), func(file *report.CardFile, _ *model) error {
		at := slices.IndexFunc(p.set.Files, func(f *publish.File) bool { return f.Name() == file.Name })
		file.Type = p.set.Files[at].Type.String() // which is more than the file says of a Q4_K_L
		return nil
	})
	if err != nil {
		return err
	}
	card.Repository, card.BaseModels = p.flags.repository, p.flags.baseModels
	if convert.IsMergeRecipe(p.model.path) {
		if card.Mixture, err = moe.Parse(p.model.path); err != nil {
			return err
		}
	}
	p.beside = nil
	if measured != nil {
		p.beside = append(p.beside, driftFile)
	}
	if p.flags.imatrix == autoImatrix {
		p.beside = append(p.beside, p.matrixName())
	}
	put := func(name, text string) error {
		p.beside = append(p.beside, name)
		return p.forced(p.folder.Put(p.ctx, name, []byte(text), nil, p.force))
	}
	if measured != nil {
		shown, err := addDrift(card, driftFile, measured)
		if err != nil {
			return err
		}
		page, err := shown.Page()
		if err == nil {
			err = put(driftPageFile, page)
		}
		if err != nil {
			return err
		}
	}
	if _, err := os.Lstat(p.folder.Path(driftFile)); measured == nil && err == nil && p.folder.Sum(driftFile) != "" {
		printNotes(p.call, []string{fmt.Sprintf("%s is of an earlier run, and not in the card: it takes the texts again (-f)", driftFile)})
	}
	modelfile, err := card.Modelfile(p.ctx, p.flags.contexts[0])
	if err != nil {
		printNotes(p.call, []string{fmt.Sprintf("there is no Modelfile: %v", err)})
	} else if modelfile != "" {
		if err := put(report.ModelfileName, modelfile); err != nil {
			return err
		}
	}
	names := p.set.Names()
	if p.flags.imatrix == autoImatrix {
		names = append(names, p.matrixName())
	}
	if err := put(sumsFile, p.folder.Sums(names)); err != nil {
		return err
	}
	text, err := card.Markdown()
	if err != nil {
		return err
	}
	printNotes(p.call, card.Notes())
	return put(cardName, text)
}

// checkUpload refuses, before any work, to put the files where they could not be put.
func (p *publication) checkUpload() error {
	if p.flags.upload == "" {
		return nil
	}
	id, ok := remote.HubID(p.flags.upload)
	if !ok {
		return p.usagef("--upload is %q, not hf://OWNER/NAME", remote.Plain(p.flags.upload))
	}
	if p.flags.repository == "" && report.IsHubName(id) {
		p.flags.repository = id
	}
	return p.remote().CanCommit(p.flags.upload)
}

// upload puts all files into a repository of the hub, if that is asked for, and returns where they are.
func (p *publication) upload() (where string, err error) {
	if p.flags.upload == "" {
		return "", nil
	}
	var uploads []remote.Upload
	for _, name := range slices.Concat(p.set.Names(), p.beside) {
		uploads = append(uploads, remote.Upload{Name: name, Path: p.folder.Path(name), SHA256: p.folder.Sum(name)})
	}
	progress := newProgress(p.call, fmt.Sprintf("uploading %d files", len(uploads)), display.ByteRate)
	defer progress.stop()
	return p.remote().Commit(p.flags.upload, fmt.Sprintf("%s: GGUF files, made by ggufkit %s", p.name, programVersion()), uploads, progress.update)
}

// show says what was made, or with --dry-run would be.
func (p *publication) show(dir string, took time.Duration) error {
	r := &report.Publish{Dir: dir, Left: p.set.Left, Commit: p.commit}
	for _, f := range p.set.Files {
		file := report.PublishFile{Name: f.Name(), Type: f.Type.String(), Bytes: f.Bytes, BPW: gguf.BitsPerWeight(f.View), Whole: f.Whole()}
		if len(f.Names) > 1 {
			file.Parts = f.Names
		}
		for _, name := range f.Names {
			if f.Whole() {
				file.SHA256 = append(file.SHA256, p.folder.Sum(name))
			}
		}
		r.Files = append(r.Files, file)
	}
	if p.flags.imatrix != "" {
		r.Imatrix = cmp.Or(strings.Join(p.imatrixFile(), ""), p.folder.Path(p.matrixName()))
	}
	if len(p.texts) > 0 {
		r.Drift = p.folder.Path(driftFile)
	}
	if p.flags.dryRun {
		read, room := int64(0), p.set.Room(p.folder)
		for _, in := range gguf.Inputs(p.model) {
			read += in.Size()
		}
		r.ReadBytes, r.RoomBytes, r.Again = &read, &room, p.again()
		takes, err := p.flags.time(p.call, p.set.Work(), p.flags.imatrix != "")
		if err != nil {
			return err
		}
		r.PlanTime = &takes
	}
	if !p.quiet || p.json || p.flags.dryRun {
		if err := printResults(p.call, r, r.Print); err != nil {
			return err
		}
	}
	switch {
	case p.json || p.quiet && !p.flags.dryRun:
	case !p.flags.dryRun:
		fmt.Fprintf(p.stderr, "%s has %d files of the model, written in %s; the card is %s\n", display.Printable(dir), len(p.set.Names()), display.Seconds(took), cardName)
		if p.commit != "" {
			fmt.Fprintf(p.stderr, "uploaded: %s\n", display.Printable(p.commit))
		}
	default:
		if parent := existing(dir); parent != "" {
			return files.CheckRoom(parent, *r.RoomBytes)
		}
	}
	return nil
}

// again says what the model is read for beside being quantized.
func (p *publication) again() (what []string) {
	if p.flags.imatrix == autoImatrix {
		what = append(what, "for the importance matrix")
	}
	if len(p.texts) > 0 {
		what = append(what, "to measure drift")
	}
	return what
}

// existing returns a directory, or the one that it will be in.
func existing(dir string) string {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return filepath.Dir(absolute(dir))
	}
	return dir
}
