//! Sizes, alignments and offsets of the structures as libclang sees them; made by renew.sh.
#![allow(clippy::all)]
use std::mem::{align_of, offset_of, size_of};
use v4l2_sys_mit::*;

macro_rules! layout {
    ($type:ty, $size:literal, $align:literal; $($field:ident $offset:literal)*) => {
        assert_eq!((size_of::<$type>(), align_of::<$type>()), ($size, $align), stringify!($type));
        $(assert_eq!(offset_of!($type, $field), $offset, concat!(stringify!($type), ".", stringify!($field)));)*
    };
}

#[test]
fn structures_are_laid_out_as_in_c() {
    layout!(timeval, 16, 8; tv_sec 0 tv_usec 8);
    layout!(v4l2_edid, 40, 8; pad 0 start_block 4 blocks 8 reserved 12 edid 32);
    layout!(v4l2_ctrl_h264_sps, 1048, 4; profile_idc 0 constraint_set_flags 1 level_idc 2 seq_parameter_set_id 3 chroma_format_idc 4 bit_depth_luma_minus8 5 bit_depth_chroma_minus8 6 log2_max_frame_num_minus4 7 pic_order_cnt_type 8 log2_max_pic_order_cnt_lsb_minus4 9 max_num_ref_frames 10 num_ref_frames_in_pic_order_cnt_cycle 11 offset_for_ref_frame 12 offset_for_non_ref_pic 1032 offset_for_top_to_bottom_field 1036 pic_width_in_mbs_minus1 1040 pic_height_in_map_units_minus1 1042 flags 1044);
    layout!(v4l2_ctrl_h264_pps, 12, 2; pic_parameter_set_id 0 seq_parameter_set_id 1 num_slice_groups_minus1 2 num_ref_idx_l0_default_active_minus1 3 num_ref_idx_l1_default_active_minus1 4 weighted_bipred_idc 5 pic_init_qp_minus26 6 pic_init_qs_minus26 7 chroma_qp_index_offset 8 second_chroma_qp_index_offset 9 flags 10);
    layout!(v4l2_ctrl_h264_scaling_matrix, 480, 1; scaling_list_4x4 0 scaling_list_8x8 96);
    layout!(v4l2_h264_weight_factors, 384, 2; luma_weight 0 luma_offset 64 chroma_weight 128 chroma_offset 256);
    layout!(v4l2_ctrl_h264_pred_weights, 772, 2; luma_log2_weight_denom 0 chroma_log2_weight_denom 2 weight_factors 4);
    layout!(v4l2_h264_reference, 2, 1; fields 0 index 1);
    layout!(v4l2_ctrl_h264_slice_params, 152, 4; header_bit_size 0 first_mb_in_slice 4 slice_type 8 colour_plane_id 9 redundant_pic_cnt 10 cabac_init_idc 11 slice_qp_delta 12 slice_qs_delta 13 disable_deblocking_filter_idc 14 slice_alpha_c0_offset_div2 15 slice_beta_offset_div2 16 num_ref_idx_l0_active_minus1 17 num_ref_idx_l1_active_minus1 18 reserved 19 ref_pic_list0 20 ref_pic_list1 84 flags 148);
    layout!(v4l2_h264_dpb_entry, 32, 8; reference_ts 0 pic_num 8 frame_num 12 fields 14 reserved 15 top_field_order_cnt 20 bottom_field_order_cnt 24 flags 28);
    layout!(v4l2_ctrl_h264_decode_params, 560, 8; dpb 0 nal_ref_idc 512 frame_num 514 top_field_order_cnt 516 bottom_field_order_cnt 520 idr_pic_id 524 pic_order_cnt_lsb 526 delta_pic_order_cnt_bottom 528 delta_pic_order_cnt0 532 delta_pic_order_cnt1 536 dec_ref_pic_marking_bit_size 540 pic_order_cnt_bit_size 544 slice_group_change_cycle 548 reserved 552 flags 556);
    layout!(v4l2_ctrl_fwht_params, 40, 8; backward_ref_ts 0 version 8 width 12 height 16 flags 20 colorspace 24 xfer_func 28 ycbcr_enc 32 quantization 36);
    layout!(v4l2_vp8_segment, 16, 4; quant_update 0 lf_update 4 segment_probs 8 padding 11 flags 12);
    layout!(v4l2_vp8_loop_filter, 16, 4; ref_frm_delta 0 mb_mode_delta 4 sharpness_level 8 level 9 padding 10 flags 12);
    layout!(v4l2_vp8_quantization, 8, 2; y_ac_qi 0 y_dc_delta 1 y2_dc_delta 2 y2_ac_delta 3 uv_dc_delta 4 uv_ac_delta 5 padding 6);
    layout!(v4l2_vp8_entropy, 1104, 1; coeff_probs 0 y_mode_probs 1056 uv_mode_probs 1060 mv_probs 1063 padding 1101);
    layout!(v4l2_vp8_entropy_coder_state, 4, 1; range 0 value 1 bit_count 2 padding 3);
    layout!(v4l2_ctrl_vp8_frame, 1232, 8; segment 0 lf 16 quant 32 entropy 40 coder_state 1144 width 1148 height 1150 horizontal_scale 1152 vertical_scale 1153 version 1154 prob_skip_false 1155 prob_intra 1156 prob_last 1157 prob_gf 1158 num_dct_parts 1159 first_part_size 1160 first_part_header_bits 1164 dct_part_sizes 1168 last_frame_ts 1200 golden_frame_ts 1208 alt_frame_ts 1216 flags 1224);
    layout!(v4l2_ctrl_mpeg2_sequence, 12, 4; horizontal_size 0 vertical_size 2 vbv_buffer_size 4 profile_and_level_indication 8 chroma_format 10 flags 11);
    layout!(v4l2_ctrl_mpeg2_picture, 32, 8; backward_ref_ts 0 forward_ref_ts 8 flags 16 f_code 20 picture_coding_type 24 picture_structure 25 intra_dc_precision 26 reserved 27);
    layout!(v4l2_ctrl_mpeg2_quantisation, 256, 1; intra_quantiser_matrix 0 non_intra_quantiser_matrix 64 chroma_intra_quantiser_matrix 128 chroma_non_intra_quantiser_matrix 192);
    layout!(v4l2_ctrl_hevc_sps, 40, 8; video_parameter_set_id 0 seq_parameter_set_id 1 pic_width_in_luma_samples 2 pic_height_in_luma_samples 4 bit_depth_luma_minus8 6 bit_depth_chroma_minus8 7 log2_max_pic_order_cnt_lsb_minus4 8 sps_max_dec_pic_buffering_minus1 9 sps_max_num_reorder_pics 10 sps_max_latency_increase_plus1 11 log2_min_luma_coding_block_size_minus3 12 log2_diff_max_min_luma_coding_block_size 13 log2_min_luma_transform_block_size_minus2 14 log2_diff_max_min_luma_transform_block_size 15 max_transform_hierarchy_depth_inter 16 max_transform_hierarchy_depth_intra 17 pcm_sample_bit_depth_luma_minus1 18 pcm_sample_bit_depth_chroma_minus1 19 log2_min_pcm_luma_coding_block_size_minus3 20 log2_diff_max_min_pcm_luma_coding_block_size 21 num_short_term_ref_pic_sets 22 num_long_term_ref_pics_sps 23 chroma_format_idc 24 sps_max_sub_layers_minus1 25 reserved 26 flags 32);
    layout!(v4l2_ctrl_hevc_pps, 64, 8; pic_parameter_set_id 0 num_extra_slice_header_bits 1 num_ref_idx_l0_default_active_minus1 2 num_ref_idx_l1_default_active_minus1 3 init_qp_minus26 4 diff_cu_qp_delta_depth 5 pps_cb_qp_offset 6 pps_cr_qp_offset 7 num_tile_columns_minus1 8 num_tile_rows_minus1 9 column_width_minus1 10 row_height_minus1 30 pps_beta_offset_div2 52 pps_tc_offset_div2 53 log2_parallel_merge_level_minus2 54 reserved 55 flags 56);
    layout!(v4l2_hevc_dpb_entry, 16, 8; timestamp 0 flags 8 field_pic 9 reserved 10 pic_order_cnt_val 12);
    layout!(v4l2_hevc_pred_weight_table, 194, 1; delta_luma_weight_l0 0 luma_offset_l0 16 delta_chroma_weight_l0 32 chroma_offset_l0 64 delta_luma_weight_l1 96 luma_offset_l1 112 delta_chroma_weight_l1 128 chroma_offset_l1 160 luma_log2_weight_denom 192 delta_chroma_log2_weight_denom 193);
    layout!(v4l2_ctrl_hevc_slice_params, 280, 8; bit_size 0 data_byte_offset 4 num_entry_point_offsets 8 nal_unit_type 12 nuh_temporal_id_plus1 13 slice_type 14 colour_plane_id 15 slice_pic_order_cnt 16 num_ref_idx_l0_active_minus1 20 num_ref_idx_l1_active_minus1 21 collocated_ref_idx 22 five_minus_max_num_merge_cand 23 slice_qp_delta 24 slice_cb_qp_offset 25 slice_cr_qp_offset 26 slice_act_y_qp_offset 27 slice_act_cb_qp_offset 28 slice_act_cr_qp_offset 29 slice_beta_offset_div2 30 slice_tc_offset_div2 31 pic_struct 32 reserved0 33 slice_segment_addr 36 ref_idx_l0 40 ref_idx_l1 56 short_term_ref_pic_set_size 72 long_term_ref_pic_set_size 74 pred_weight_table 76 reserved1 270 flags 272);
    layout!(v4l2_ctrl_hevc_decode_params, 328, 8; pic_order_cnt_val 0 short_term_ref_pic_set_size 4 long_term_ref_pic_set_size 6 num_active_dpb_entries 8 num_poc_st_curr_before 9 num_poc_st_curr_after 10 num_poc_lt_curr 11 poc_st_curr_before 12 poc_st_curr_after 28 poc_lt_curr 44 num_delta_pocs_of_ref_rps_idx 60 reserved 61 dpb 64 flags 320);
    layout!(v4l2_ctrl_hevc_scaling_matrix, 1000, 1; scaling_list_4x4 0 scaling_list_8x8 96 scaling_list_16x16 480 scaling_list_32x32 864 scaling_list_dc_coef_16x16 992 scaling_list_dc_coef_32x32 998);
    layout!(v4l2_vp9_loop_filter, 16, 1; ref_deltas 0 mode_deltas 4 level 6 sharpness 7 flags 8 reserved 9);
    layout!(v4l2_vp9_quantization, 8, 1; base_q_idx 0 delta_q_y_dc 1 delta_q_uv_dc 2 delta_q_uv_ac 3 reserved 4);
    layout!(v4l2_vp9_segmentation, 88, 2; feature_data 0 feature_enabled 64 tree_probs 72 pred_probs 79 flags 82 reserved 83);
    layout!(v4l2_ctrl_vp9_frame, 168, 8; lf 0 quant 16 seg 24 flags 112 compressed_header_size 116 uncompressed_header_size 118 frame_width_minus_1 120 frame_height_minus_1 122 render_width_minus_1 124 render_height_minus_1 126 last_frame_ts 128 golden_frame_ts 136 alt_frame_ts 144 ref_frame_sign_bias 152 reset_frame_context 153 frame_context_idx 154 profile 155 bit_depth 156 interpolation_filter 157 tile_cols_log2 158 tile_rows_log2 159 reference_mode 160 reserved 161);
    layout!(v4l2_vp9_mv_probs, 69, 1; joint 0 sign 3 classes 5 class0_bit 25 bits 27 class0_fr 47 fr 59 class0_hp 65 hp 67);
    layout!(v4l2_ctrl_vp9_compressed_hdr, 2040, 1; tx_mode 0 tx8 1 tx16 3 tx32 7 coef 13 skip 1741 inter_mode 1744 interp_filter 1765 is_inter 1773 comp_mode 1777 single_ref 1782 comp_ref 1792 y_mode 1797 uv_mode 1833 partition 1923 mv 1971);
    layout!(v4l2_rect, 16, 4; left 0 top 4 width 8 height 12);
    layout!(v4l2_fract, 8, 4; numerator 0 denominator 4);
    layout!(v4l2_area, 8, 4; width 0 height 4);
    layout!(v4l2_capability, 104, 4; driver 0 card 16 bus_info 48 version 80 capabilities 84 device_caps 88 reserved 92);
    layout!(v4l2_pix_format__bindgen_ty_1, 4, 4; ycbcr_enc 0 hsv_enc 0);
    layout!(v4l2_pix_format, 48, 4; width 0 height 4 pixelformat 8 field 12 bytesperline 16 sizeimage 20 colorspace 24 priv_ 28 flags 32 quantization 40 xfer_func 44);
    layout!(v4l2_fmtdesc, 64, 4; index 0 type_ 4 flags 8 description 12 pixelformat 44 mbus_code 48 reserved 52);
    layout!(v4l2_frmsize_discrete, 8, 4; width 0 height 4);
    layout!(v4l2_frmsize_stepwise, 24, 4; min_width 0 max_width 4 step_width 8 min_height 12 max_height 16 step_height 20);
    layout!(v4l2_frmsizeenum__bindgen_ty_1, 24, 4; discrete 0 stepwise 0);
    layout!(v4l2_frmsizeenum, 44, 4; index 0 pixel_format 4 type_ 8 reserved 36);
    layout!(v4l2_frmival_stepwise, 24, 4; min 0 max 8 step 16);
    layout!(v4l2_frmivalenum__bindgen_ty_1, 24, 4; discrete 0 stepwise 0);
    layout!(v4l2_frmivalenum, 52, 4; index 0 pixel_format 4 width 8 height 12 type_ 16 reserved 44);
    layout!(v4l2_timecode, 16, 4; type_ 0 flags 4 frames 8 seconds 9 minutes 10 hours 11 userbits 12);
    layout!(v4l2_jpegcompression, 140, 4; quality 0 APPn 4 APP_len 8 APP_data 12 COM_len 72 COM_data 76 jpeg_markers 136);
    layout!(v4l2_requestbuffers, 20, 4; count 0 type_ 4 memory 8 capabilities 12 flags 16 reserved 17);
    layout!(v4l2_plane__bindgen_ty_1, 8, 8; mem_offset 0 userptr 0 fd 0);
    layout!(v4l2_plane, 64, 8; bytesused 0 length 4 m 8 data_offset 16 reserved 20);
    layout!(v4l2_buffer__bindgen_ty_1, 8, 8; offset 0 userptr 0 planes 0 fd 0);
    layout!(v4l2_buffer__bindgen_ty_2, 4, 4; request_fd 0 reserved 0);
    layout!(v4l2_buffer, 88, 8; index 0 type_ 4 bytesused 8 flags 12 field 16 timestamp 24 timecode 40 sequence 56 memory 60 m 64 length 72 reserved2 76);
    layout!(v4l2_exportbuffer, 64, 4; type_ 0 index 4 plane 8 flags 12 fd 16 reserved 20);
    layout!(v4l2_framebuffer__bindgen_ty_1, 32, 4; width 0 height 4 pixelformat 8 field 12 bytesperline 16 sizeimage 20 colorspace 24 priv_ 28);
    layout!(v4l2_framebuffer, 48, 8; capability 0 flags 4 base 8 fmt 16);
    layout!(v4l2_clip, 24, 8; c 0 next 16);
    layout!(v4l2_window, 56, 8; w 0 field 16 chromakey 20 clips 24 clipcount 32 bitmap 40 global_alpha 48);
    layout!(v4l2_captureparm, 40, 4; capability 0 capturemode 4 timeperframe 8 extendedmode 16 readbuffers 20 reserved 24);
    layout!(v4l2_outputparm, 40, 4; capability 0 outputmode 4 timeperframe 8 extendedmode 16 writebuffers 20 reserved 24);
    layout!(v4l2_cropcap, 44, 4; type_ 0 bounds 4 defrect 20 pixelaspect 36);
    layout!(v4l2_crop, 20, 4; type_ 0 c 4);
    layout!(v4l2_standard, 72, 8; index 0 id 8 name 16 frameperiod 40 framelines 48 reserved 52);
    layout!(v4l2_input, 80, 8; index 0 name 4 type_ 36 audioset 40 tuner 44 std 48 status 56 capabilities 60 reserved 64);
    layout!(v4l2_output, 72, 8; index 0 name 4 type_ 36 audioset 40 modulator 44 std 48 capabilities 56 reserved 60);
    layout!(v4l2_control, 8, 4; id 0 value 4);
    layout!(v4l2_ext_control__bindgen_ty_1, 8, 8; value 0 value64 0 string 0 p_u8 0 p_u16 0 p_u32 0 p_area 0 p_h264_sps 0 p_h264_pps 0 p_h264_scaling_matrix 0 p_h264_pred_weights 0 p_h264_slice_params 0 p_h264_decode_params 0 p_fwht_params 0 p_vp8_frame 0 p_mpeg2_sequence 0 p_mpeg2_picture 0 p_mpeg2_quantisation 0 p_vp9_compressed_hdr_probs 0 p_vp9_frame 0 p_hevc_sps 0 p_hevc_pps 0 p_hevc_slice_params 0 p_hevc_scaling_matrix 0 p_hevc_decode_params 0 ptr 0);
    layout!(v4l2_ext_control, 20, 1; id 0 size 4 reserved2 8);
    layout!(v4l2_ext_controls__bindgen_ty_1, 4, 4; ctrl_class 0 which 0);
    layout!(v4l2_ext_controls, 32, 8; count 4 error_idx 8 request_fd 12 reserved 16 controls 24);
    layout!(v4l2_queryctrl, 68, 4; id 0 type_ 4 name 8 minimum 40 maximum 44 step 48 default_value 52 flags 56 reserved 60);
    layout!(v4l2_query_ext_ctrl, 232, 8; id 0 type_ 4 name 8 minimum 40 maximum 48 step 56 default_value 64 flags 72 elem_size 76 elems 80 nr_of_dims 84 dims 88 reserved 104);
    layout!(v4l2_querymenu__bindgen_ty_1, 32, 8; name 0 value 0);
    layout!(v4l2_querymenu, 44, 1; id 0 index 4 reserved 40);
    layout!(v4l2_tuner, 84, 4; index 0 name 4 type_ 36 capability 40 rangelow 44 rangehigh 48 rxsubchans 52 audmode 56 signal 60 afc 64 reserved 68);
    layout!(v4l2_modulator, 68, 4; index 0 name 4 capability 36 rangelow 40 rangehigh 44 txsubchans 48 type_ 52 reserved 56);
    layout!(v4l2_frequency, 44, 4; tuner 0 type_ 4 frequency 8 reserved 12);
    layout!(v4l2_audio, 52, 4; index 0 name 4 capability 36 mode 40 reserved 44);
    layout!(v4l2_audioout, 52, 4; index 0 name 4 capability 36 mode 40 reserved 44);
    layout!(v4l2_enc_idx_entry, 32, 8; offset 0 pts 8 length 16 flags 20 reserved 24);
    layout!(v4l2_enc_idx, 2072, 8; entries 0 entries_cap 4 reserved 8 entry 24);
    layout!(v4l2_encoder_cmd__bindgen_ty_1__bindgen_ty_1, 32, 4; data 0);
    layout!(v4l2_encoder_cmd__bindgen_ty_1, 32, 4; raw 0);
    layout!(v4l2_encoder_cmd, 40, 4; cmd 0 flags 4);
    layout!(v4l2_vbi_format, 44, 4; sampling_rate 0 offset 4 samples_per_line 8 sample_format 12 start 16 count 24 flags 32 reserved 36);
    layout!(v4l2_sliced_vbi_format, 112, 4; service_set 0 service_lines 2 io_size 100 reserved 104);
    layout!(v4l2_sliced_vbi_cap, 116, 4; service_set 0 service_lines 2 type_ 100 reserved 104);
    layout!(v4l2_plane_pix_format, 20, 1; sizeimage 0 bytesperline 4 reserved 8);
    layout!(v4l2_pix_format_mplane__bindgen_ty_1, 1, 1; ycbcr_enc 0 hsv_enc 0);
    layout!(v4l2_pix_format_mplane, 192, 1; width 0 height 4 pixelformat 8 field 12 colorspace 16 plane_fmt 20 num_planes 180 flags 181 quantization 183 xfer_func 184 reserved 185);
    layout!(v4l2_sdr_format, 32, 1; pixelformat 0 buffersize 4 reserved 8);
    layout!(v4l2_meta_format, 8, 1; dataformat 0 buffersize 4);
    layout!(v4l2_format__bindgen_ty_1, 200, 8; pix 0 pix_mp 0 win 0 vbi 0 sliced 0 sdr 0 meta 0 raw_data 0);
    layout!(v4l2_format, 208, 8; type_ 0 fmt 8);
    layout!(v4l2_streamparm__bindgen_ty_1, 200, 4; capture 0 output 0 raw_data 0);
    layout!(v4l2_streamparm, 204, 4; type_ 0 parm 4);
}
