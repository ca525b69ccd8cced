"""The README of a generated folder."""

README = """\
SYNTHETIC DATA. No patient is in this folder.

These {cases} cases are computer-made gliomas in a warped average brain (seed {seed}, {spacing} mm
voxels). They have the file layout and the label values of BraTS 2021 so that programs written for
BraTS read them, but they are not BraTS data. Results on them say whether a program runs and
learns; they say nothing about patients. Not for clinical use.

Files       Phantom_XXXXX/Phantom_XXXXX_{{flair,t1,t1ce,t2}}.nii.gz  int16, 0 outside the brain
            Phantom_XXXXX/Phantom_XXXXX_seg.nii.gz  uint8: 0 none, 1 necrotic or non-enhancing
            core (NCR), 2 edema (ED), 4 enhancing tumor (ET)
            Phantom_XXXXX/Phantom_XXXXX.json and cases.json  parameters, volumes, sha256 sums

How made    1. Grey and white matter maps of the ICBM152 2009a symmetric template, from the nilearn
               package, under a random affine and smooth warp, flipped at random, made individual
               by random fields.
            2. A tumor grown from a seed in white matter by reaction and diffusion (Fisher-KPP);
               edema spread by diffusion along white matter; mass effect; enhancing rim with gaps.
               Kinds: ring enhancing, solid, low grade without enhancement, without edema.
            3. Signals from proton density, T1 and T2 of each tissue with the equations of spin
               echo and inversion recovery; contrast agent in rim and vessels; aging lesions.
            4. Point spread, Rician noise, small misregistration, coil bias, random gain.
            The tissue numbers and their sources stand in cggm/data/phantom/physics.py.

Anatomy     ICBM 152 Nonlinear atlases version 2009: Copyright (C) 1993-2009 Louis Collins,
            McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University.
            "Permission to use, copy, modify, and distribute this software and its documentation
            for any purpose and without fee is hereby granted, provided that the above copyright
            notice appear in all copies. The authors and McGill University make no representations
            about the suitability of this software for any purpose. It is provided "as is" without
            express or implied warranty. The authors are not responsible for any data loss,
            equipment damage, property loss, or injury to subjects or patients resulting from the
            use or misuse of this software package."
            V.S. Fonov et al., Unbiased nonlinear average age-appropriate brain templates from
            birth to adulthood, NeuroImage 47, S102 (2009); NeuroImage 54, 313 (2011).
            The maps come from nilearn (BSD-3-Clause, The nilearn developers).
"""
