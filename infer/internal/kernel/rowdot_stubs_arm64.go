//go:build arm64 && !purego

package kernel

// dotQ4_0NEON is DotRows for Q4_0.
//
//go:noescape
func dotQ4_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ4_0DotProd is DotRows for Q4_0. It needs FEAT_DotProd.
//
//go:noescape
func dotQ4_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ4_1NEON is DotRows for Q4_1.
//
//go:noescape
func dotQ4_1NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ4_1DotProd is DotRows for Q4_1. It needs FEAT_DotProd.
//
//go:noescape
func dotQ4_1DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_0NEON is DotRows for Q5_0.
//
//go:noescape
func dotQ5_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_0DotProd is DotRows for Q5_0. It needs FEAT_DotProd.
//
//go:noescape
func dotQ5_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_1NEON is DotRows for Q5_1.
//
//go:noescape
func dotQ5_1NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_1DotProd is DotRows for Q5_1. It needs FEAT_DotProd.
//
//go:noescape
func dotQ5_1DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ8_0NEON is DotRows for Q8_0.
//
//go:noescape
func dotQ8_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ8_0DotProd is DotRows for Q8_0. It needs FEAT_DotProd.
//
//go:noescape
func dotQ8_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ2_KNEON is DotRows for Q2_K.
//
//go:noescape
func dotQ2_KNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ2_KDotProd is DotRows for Q2_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ2_KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ3_KNEON is DotRows for Q3_K.
//
//go:noescape
func dotQ3_KNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ3_KDotProd is DotRows for Q3_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ3_KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ4_KNEON is DotRows for Q4_K.
//
//go:noescape
func dotQ4_KNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ4_KDotProd is DotRows for Q4_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ4_KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_KNEON is DotRows for Q5_K.
//
//go:noescape
func dotQ5_KNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ5_KDotProd is DotRows for Q5_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ5_KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ6_KNEON is DotRows for Q6_K.
//
//go:noescape
func dotQ6_KNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotQ6_KDotProd is DotRows for Q6_K. It needs FEAT_DotProd.
//
//go:noescape
func dotQ6_KDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ1_SNEON is DotRows for IQ1_S.
//
//go:noescape
func dotIQ1_SNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ1_SDotProd is DotRows for IQ1_S. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ1_SDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ1_MNEON is DotRows for IQ1_M.
//
//go:noescape
func dotIQ1_MNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ1_MDotProd is DotRows for IQ1_M. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ1_MDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_XXSNEON is DotRows for IQ2_XXS.
//
//go:noescape
func dotIQ2_XXSNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_XXSDotProd is DotRows for IQ2_XXS. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ2_XXSDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_XSNEON is DotRows for IQ2_XS.
//
//go:noescape
func dotIQ2_XSNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_XSDotProd is DotRows for IQ2_XS. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ2_XSDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_SNEON is DotRows for IQ2_S.
//
//go:noescape
func dotIQ2_SNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ2_SDotProd is DotRows for IQ2_S. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ2_SDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ3_XXSNEON is DotRows for IQ3_XXS.
//
//go:noescape
func dotIQ3_XXSNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ3_XXSDotProd is DotRows for IQ3_XXS. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ3_XXSDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ3_SNEON is DotRows for IQ3_S.
//
//go:noescape
func dotIQ3_SNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ3_SDotProd is DotRows for IQ3_S. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ3_SDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ4_NLNEON is DotRows for IQ4_NL.
//
//go:noescape
func dotIQ4_NLNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ4_NLDotProd is DotRows for IQ4_NL. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ4_NLDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ4_XSNEON is DotRows for IQ4_XS.
//
//go:noescape
func dotIQ4_XSNEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotIQ4_XSDotProd is DotRows for IQ4_XS. It needs FEAT_DotProd.
//
//go:noescape
func dotIQ4_XSDotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotTQ1_0NEON is DotRows for TQ1_0.
//
//go:noescape
func dotTQ1_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotTQ1_0DotProd is DotRows for TQ1_0. It needs FEAT_DotProd.
//
//go:noescape
func dotTQ1_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotTQ2_0NEON is DotRows for TQ2_0.
//
//go:noescape
func dotTQ2_0NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotTQ2_0DotProd is DotRows for TQ2_0. It needs FEAT_DotProd.
//
//go:noescape
func dotTQ2_0DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotMXFP4NEON is DotRows for MXFP4.
//
//go:noescape
func dotMXFP4NEON(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)

// dotMXFP4DotProd is DotRows for MXFP4. It needs FEAT_DotProd.
//
//go:noescape
func dotMXFP4DotProd(dst *float32, rows int, w *byte, x *int8, vectors int, points *uint8)
