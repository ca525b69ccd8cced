"""From a hospital's images to those of BraTS: registered, skull-stripped, 1 mm; and masks back."""
